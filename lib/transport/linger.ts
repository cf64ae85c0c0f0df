import type { Socket } from 'node:net';

/**
 * How long the end of a truncated body is held back, in milliseconds. When a body breaks off, Chromium and undici drop what
 * they have received, but not handed to the page or reader yet: the record that says why would often be lost.
 */
export const TRUNCATION_DELAY_MS = 100;

/**
 * Ends a connection and gives the client time to read what it was sent: to close a socket with something unread resets it, and
 * the client loses the answer (RFC 9112 §9.6).
 */
export function endSoon(socket: Socket, within: number): void {
  if (!socket.writableEnded) {
    socket.end();
  }
  socket.resume();
  destroyLater(socket, within);
}

/** Destroys a socket that has not closed within a time, in milliseconds. */
export function destroyLater(socket: Socket, within: number): void {
  // After a time in which the process did not run, what the client has sent meanwhile is read first.
  const timer = setTimeout(() => setImmediate(() => socket.destroy()), within).unref();
  socket.once('close', () => clearTimeout(timer));
}
