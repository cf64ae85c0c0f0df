import { StreamFailure } from './body.js';
import { webSocketOrigin } from './curl.js';
import { FollowingPanel } from './following.js';

const SUBPROTOCOL = 'events.v1+json';
/** The code of a WebSocket that was closed without a close frame: RFC 6455, section 7.1.5. */
const NO_CLOSE_FRAME = 1006;

/**
 * Reads events from a WebSocket. Browsers limit the HTTP/1.1 connections to a server to six, but not WebSockets. A panel has a `path`, the
 * last `id` that it has received, and `received(event, size)`; it may have `opened()`.
 */
export class SocketPanel extends FollowingPanel {
  async follow(signal, again) {
    const last = `last-event-id.${encodeURIComponent(this.id)}`;
    const socket = new WebSocket(`${webSocketOrigin()}${this.path}`, [SUBPROTOCOL, last]);
    signal.addEventListener('abort', () => socket.close());
    return new Promise((resolve, reject) => {
      let failure = 'no WebSocket could be opened';
      socket.addEventListener('open', () => {
        failure = 'the connection broke';
        this.connected(again);
        this.opened?.();
      });
      socket.addEventListener('message', ({ data }) => {
        // A message that was on its way when the panel was stopped is not shown.
        if (!signal.aborted) {
          this.received(JSON.parse(data), data);
        }
      });
      socket.addEventListener('close', ({ code, reason }) => {
        if (code === NO_CLOSE_FRAME) {
          reject(new StreamFailure(failure));
        } else {
          resolve(`The server closed the connection (${[code, reason].filter(Boolean).join(', ')})`);
        }
      });
    });
  }
}
