/**
 * One piece of a path as Express and Fastify know them: a parameter with what it may match and whether it may be left out; what may
 * match several segments or none (a group, a wildcard); an escape; any other character.
 */
const PIECE = /:(?:\w+|"[^"]*")(?:\([^)]*\))?(\?)?|(\{\/?|\*|\(\.\*\))|\\(.)|([\s\S])/g;
/** A segment with a parameter, whatever else is in it. */
const ANY = '[^/]*';

/**
 * An expression for a path. It never has two choices of where to go on: clients choose what is tried, and with several parameters in
 * a segment the time it takes would be a power of its length.
 */
function patternOf(path: string): string {
  const segments: string[] = [];
  let segment = '';
  for (const [, optional, open, escaped, other] of path.matchAll(PIECE)) {
    const literal = escaped ?? other;
    if (optional !== undefined || open !== undefined) {
      // What follows is not looked at.
      const whole = segment === '' || open === '{/';
      return [...segments, ...(segment === '' ? [] : [segment])].join('/') + (whole ? '(?:/|$)' : '');
    }
    if (literal === '/') {
      segments.push(segment);
      segment = '';
    } else if (literal === undefined) {
      segment = ANY;
    } else if (segment !== ANY) {
      segment += literal.replace(/[.*+?^${}()|[\]\\]/, '\\$&');
    }
  }
  return `${[...segments, segment].join('/')}/*$`;
}

/**
 * Tells whether a path may be one of these routes. It may be wrong in one direction only, as the router has the last word: it
 * takes what differs in case or by a `/` at the end, and knows nothing of what a parameter may be.
 *
 * @param paths as they are registered, with prefixes and versions
 */
export function pathMatcher(paths: readonly string[]): (path: string) => boolean {
  if (paths.length === 0) {
    return () => false;
  }
  const routes = new RegExp(`^(?:${paths.map((path) => patternOf(path.replace(/\/+$/, ''))).join('|')})`, 'i');
  return (path) => routes.test(path) || routes.test(decodedPath(path));
}

/** The path of a request target: `/a?b`, or `http://host/a?b` (RFC 9112 §3.2). */
export function pathOf(target = ''): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/?#]*/i, '').split(/[?#]/, 1);
  return path;
}

function decodedPath(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    // Malformed escapes: as it is, it has been compared already.
    return path;
  }
}
