/** What its server closes when nothing has passed over it for a while: a socket, or a session of HTTP/2. */
export interface TimedConnection {
  /** The idle timeout in milliseconds; 0 for none. Node.js has it on sessions too, but not in its documentation. */
  readonly timeout?: number | undefined;
  setTimeout(milliseconds: number): unknown;
}

/** The connections whose idle timeout is lifted, how many of their streams need that, and what it was. */
const lifted = new WeakMap<TimedConnection, { streams: number; readonly timeout: number }>();

/**
 * Lifts the idle timeout of a connection, as Nest's own `@Sse()` does: to be silent is what a stream may do.
 * @returns whether to call {@link restoreIdleTimeout} when the stream is over
 */
export function liftIdleTimeout(connection: TimedConnection): boolean {
  const known = lifted.get(connection);
  if (known) {
    known.streams++;
  } else if (connection.timeout) {
    lifted.set(connection, { streams: 1, timeout: connection.timeout });
    connection.setTimeout(0);
  }
  return lifted.has(connection);
}

/** Restores the idle timeout after the last stream. Node.js may have set that of kept-alive connections meanwhile: then it stays. */
export function restoreIdleTimeout(connection: TimedConnection): void {
  const known = lifted.get(connection);
  if (known && --known.streams === 0) {
    lifted.delete(connection);
    if (connection.timeout === 0) {
      connection.setTimeout(known.timeout);
    }
  }
}
