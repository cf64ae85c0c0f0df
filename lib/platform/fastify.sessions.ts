import type { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest, Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { socketOf } from '../transport/http2-session.js';

/** How long a client may take to close its side of a finished session, in milliseconds. In the worst case it takes twice as long. */
const SESSION_CLOSE_TIMEOUT_MS = 500;

interface FastifyServerLike {
  readonly server: EventEmitter;
  addHook(
    name: 'onRequest',
    hook: (request: { readonly raw: IncomingMessage | Http2ServerRequest }, reply: unknown, done: () => void) => void,
  ): unknown;
  addHook(name: 'preClose', hook: (done: () => void) => void): unknown;
}

/** The HTTP/2 sessions of an application. If they were not closed, clients could keep the server open for any time. */
class Sessions {
  private readonly sockets = new Map<Http2Session, Socket>();
  private closing = false;

  readonly add = (session: Http2Session): void => {
    if (this.sockets.has(session) || session.destroyed) {
      return;
    }
    const socket = socketOf(session);
    this.sockets.set(session, socket);
    socket.once('close', () => this.sockets.delete(session));
    if (this.closing) {
      session.close();
    }
  };

  /** Makes every session refuse new requests (GOAWAY, RFC 9113 §6.8), and close after the last of its streams. */
  close(): void {
    this.closing = true;
    for (const session of this.sockets.keys()) {
      session.close();
    }
    this.dropLater(new Set());
  }

  /** Regularly destroys the sockets of sessions that were closed on this side in two successive checks. */
  private dropLater(before: ReadonlySet<Http2Session>): void {
    if (this.sockets.size === 0) {
      return;
    }
    const timer = setTimeout(() => {
      for (const session of before) {
        this.sockets.get(session)?.destroy();
      }
      this.dropLater(new Set([...this.sockets.keys()].filter((session) => session.destroyed)));
    }, SESSION_CLOSE_TIMEOUT_MS);
    // Open sockets keep the process alive, so that the timer does not have to.
    timer.unref();
  }
}

/** Closes the HTTP/2 sessions of an application when it closes. Called once, before its routes are registered. */
export function closeSessions(instance: FastifyServerLike): void {
  if (!('updateSettings' in instance.server)) {
    // The server only supports HTTP/1.1.
    return;
  }
  const sessions = new Sessions();
  instance.server.on('session', sessions.add);
  instance.addHook('onRequest', ({ raw }, _reply, done) => {
    // For localhost, Fastify has one server for each address, but `instance.server` is only the first of them.
    const session = 'stream' in raw ? raw.stream.session : undefined;
    if (session) {
      sessions.add(session);
    }
    done();
  });
  instance.addHook('preClose', (done) => {
    sessions.close();
    done();
  });
}
