import type { Http2Session } from 'node:http2';
import type { Socket } from 'node:net';

/** How long a client may take to answer a PING, in milliseconds. TCP keep-alive, as Node.js configures it, takes about the same time. */
const ANSWER_WITHIN_MS = 30_000;

const probed = new WeakSet<Http2Session>();

/**
 * Sends a PING (RFC 9113 §6.7) to check whether the client of a session still responds, and destroys the socket if it does not.
 * A session sends one PING at a time, even if several of its streams call this function.
 */
export function probeSession(session: Http2Session | undefined): void {
  if (!session || session.destroyed || probed.has(session)) {
    return;
  }
  const socket = socketOf(session);
  const giveUp = setTimeout(() => socket.destroy(), ANSWER_WITHIN_MS).unref();
  probed.add(session);
  session.ping(() => {
    clearTimeout(giveUp);
    probed.delete(session);
  });
}

/**
 * Returns the real socket of a session. `session.socket` is a proxy that cannot be destroyed, and destroying the session waits for
 * unsent bytes if the client does not read.
 */
export function socketOf(session: Http2Session): Socket {
  // The proxy forwards off() to the real socket, and off() returns that socket.
  return session.socket.off('close', socketOf) as Socket;
}
