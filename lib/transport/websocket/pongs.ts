import type { WebSocketLike } from './ws.js';

/** How many pongs may wait for the client to take them. */
const MOST_WAITING = 8;

/**
 * Answers the pings of a client. Of those that come while several answers still wait for it, only the last is answered, as
 * RFC 6455 §5.5.3 allows: a flood of pings from a client that reads nothing costs no more than a few of them.
 */
export class Pongs {
  private waiting = 0;
  private skipped: Buffer | undefined;

  constructor(private readonly webSocket: WebSocketLike) {}

  /** @param data the payload of the ping */
  answer(data: Buffer): void {
    if (this.waiting < MOST_WAITING) {
      this.send(data);
    } else {
      // Not a view of what was read from the socket with it.
      this.skipped = Buffer.from(data);
    }
  }

  private send(data: Buffer): void {
    this.waiting++;
    this.webSocket.pong(data, false, this.onSent);
  }

  private readonly onSent = (error?: Error): void => {
    const { skipped } = this;
    this.waiting--;
    this.skipped = undefined;
    if (skipped && !error) {
      this.send(skipped);
    }
  };
}
