/** One piece of a path as Express and Fastify know them: a group, a parameter with what it may match, a wildcard, an escape, any other character. */
const PIECE = /([{}])|:(?:\w+|"[^"]*")(?:\([^)]*\))?\??|\(\.\*\)|\*\w*|\\(.)|([\s\S])/g;

function sourceOf(path: string): string {
  return path.replace(PIECE, (piece, brace?: string, escaped?: string, other?: string) => {
    if (brace !== undefined) {
      return brace === '{' ? '(?:' : ')?';
    }
    const literal = escaped ?? other;
    if (literal !== undefined) {
      return literal.replace(/[.*+?^${}()|[\]\\/]/, '\\$&');
    }
    return piece.startsWith(':') ? '[^/]*' : '.*';
  });
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
  const routes = new RegExp(`^(?:${paths.map((path) => sourceOf(path.replace(/\/+$/, ''))).join('|')})/*$`, 'i');
  return (path) => routes.test(path) || routes.test(decoded(path));
}

/** The path of a request target: `/a?b`, or `http://host/a?b` (RFC 9112 §3.2). */
export function pathOf(target = ''): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/?#]*/i, '').split(/[?#]/, 1);
  return path;
}

function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    // Malformed escapes: as it is, it has been compared already.
    return path;
  }
}
