/**
 * Matches one piece of a route path of Express or Fastify: a parameter with its pattern and `?`; a group or a wildcard, which may match
 * any number of segments; an escaped character; or any other character.
 */
const PIECE = /:(?:\w+|"[^"]*")(?:\([^)]*\))?(\?)?|(\{\/?|\*|\(\.\*\))|\\(.)|([\s\S])/g;
/** The pattern of a segment with a parameter. The rest of the segment is not compared. */
const ANY = '[^/]*';

/**
 * Returns the source of a regular expression for a path. It never backtracks: with several parameters in a segment, the time would be polynomial in
 * the length of the text, which clients choose.
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
 * Returns a function that returns whether a path may belong to one of these routes. It may accept too many paths, since the router makes the final
 * decision. It ignores case and a trailing `/`, and does not check the values of parameters.
 *
 * @param paths the full paths of the routes, with prefixes and versions
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
    // The path has malformed escapes. It was compared without decoding already.
    return path;
  }
}
