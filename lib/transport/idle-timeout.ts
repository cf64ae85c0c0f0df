/** A connection with an idle timeout: a socket, or an HTTP/2 session. */
export interface TimedConnection {
  /** The idle timeout in milliseconds; 0 for none. Sessions have this property too, although it is not documented. */
  readonly timeout?: number | undefined;
  setTimeout(milliseconds: number): unknown;
}

/** The connections whose idle timeout is lifted, each with its number of open streams and its original timeout. */
const lifted = new WeakMap<TimedConnection, { streams: number; readonly timeout: number }>();

/**
 * Lifts the idle timeout of a connection, as Nest's own `@Sse()` does, since a stream may be silent for any time.
 * @returns whether to call {@link restoreIdleTimeout} when the stream is over
 */
export function liftIdleTimeout(connection: TimedConnection): boolean {
  const known = lifted.get(connection);
  if (known) {
    known.streams++;
    return true;
  }
  const { timeout } = connection;
  if (!timeout) {
    return false;
  }
  lifted.set(connection, { streams: 1, timeout });
  connection.setTimeout(0);
  return true;
}

/** Restores the idle timeout after the last stream, unless Node.js has set a keep-alive timeout on the connection in the meantime. */
export function restoreIdleTimeout(connection: TimedConnection): void {
  const known = lifted.get(connection);
  if (known && --known.streams === 0) {
    lifted.delete(connection);
    if (connection.timeout === 0) {
      connection.setTimeout(known.timeout);
    }
  }
}
