import type { Http2Session } from 'node:http2';
import type { Socket } from 'node:net';

/** How long a client may take to answer a PING. TCP keep-alive, as Node.js sets it, takes about as long to give a client up. */
const ANSWER_WITHIN_MS = 30_000;

const probed = new WeakSet<Http2Session>();

/**
 * Finds out with a PING (RFC 9113 §6.7) whether the client of a session is still there, and drops the session when it is not.
 * One PING is under way at a time, however many of its streams ask.
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
 * The socket below a session. The one that Node.js hands out cannot be destroyed, and to destroy the session does not do it either
 * when the client reads nothing: that waits for what is still to be sent.
 */
export function socketOf(session: Http2Session): Socket {
  // It routes what it does not forbid to the socket itself, which is also what returns.
  return session.socket.off('close', socketOf) as Socket;
}
