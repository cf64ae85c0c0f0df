import type { WebSocketLike } from './ws.js';

/** The maximum number of unsent pongs. */
const MAX_WAITING = 8;

/**
 * Answers the pings of a client. While too many pongs are still unsent, only the last of its pings is answered, as
 * RFC 6455 §5.5.3 allows. A flood of pings from a client that does not read costs no more than a few pings.
 */
export class Pongs {
  private waiting = 0;
  private skipped: Buffer | undefined;

  constructor(private readonly webSocket: WebSocketLike) {}

  /** @param data the payload of the ping */
  answer(data: Buffer): void {
    if (this.waiting < MAX_WAITING) {
      this.send(data);
    } else {
      // Copied: a view would keep everything that was read from the socket in memory.
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
