/**
 * One piece of a path as Express and Fastify know them: a parameter with what it may match and whether it may be left out; what may
 * match several segments or none (a group, a wildcard); an escape; any other character.
 */
const PIECE = /:(?:\w+|"[^"]*")(?:\([^)]*\))?(\?)?|(\{\/?|\*|\(\.\*\))|\\(.)|([\s\S])/g;
/** A segment with a parameter, whatever else is in it. */
const ANY = '[^/]*';

/**
 * Returns the source of a regular expression for a path. It never backtracks: clients choose the text, and with several parameters in a segment
 * the time would be a power of its length.
 */
function patternOf(path: string): string {
  const segments: string[] = [];
  let segment = '';
  for (const [, optional, open, escaped, other] of path.matchAll(PIECE)) {
    const literal = escaped ?? other;
    if (optional !== undefined || open !== undefined) {
      // The rest of the path is not compared.
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
 * Returns a function that tells whether a path may be that of one of these routes. It may accept too many paths, because the router decides in
 * the end: it ignores case and a `/` at the end, and does not know which values a parameter allows.
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

/** Returns the path of a request target: `/a?b`, or `http://host/a?b` (RFC 9112 §3.2). */
export function pathOf(target = ''): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/?#]*/i, '').split(/[?#]/, 1);
  return path;
}

function decodedPath(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    // The escapes are malformed. The path itself has been compared already.
    return path;
  }
}
