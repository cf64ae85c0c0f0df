import type { Socket } from 'node:net';

/**
 * How long the connection stays open after the last bytes of a truncated body, in milliseconds. When a body is cut off, Chromium and undici
 * discard bytes that they have received, but not passed to the page or the reader yet. The error record would often be lost.
 */
export const TRUNCATION_DELAY_MS = 100;

/**
 * Ends a connection, and gives the client time to read the response. Closing a socket with unread input resets the connection, and the
 * client loses the response (RFC 9112 §9.6).
 */
export function endSoon(socket: Socket, within: number): void {
  if (!socket.writableEnded) {
    socket.end();
  }
  socket.resume();
  destroyLater(socket, within);
}

/** Destroys a socket that has not closed within this number of milliseconds. */
export function destroyLater(socket: Socket, within: number): void {
  // If the process did not run for a while, the bytes that the client has sent in that time are read first.
  const timer = setTimeout(() => setImmediate(() => socket.destroy()), within).unref();
  socket.once('close', () => clearTimeout(timer));
}
