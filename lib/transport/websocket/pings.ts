import type { Socket } from 'node:net';
import type { WebSocketLike } from './ws.js';

/** The pings of a WebSocket, which find out whether its client is still there (RFC 6455 §5.5.2). */
export class Pings {
  private sentAt: number | undefined;
  /** What had been read at the last one. Nothing: none was sent, or nothing was to be heard. */
  private readBefore: number | undefined;

  constructor(
    private readonly webSocket: WebSocketLike,
    private readonly socket: Socket,
  ) {}

  /**
   * Sends a ping if none was sent for this number of milliseconds.
   * @param now on the clock of whoever asks
   * @param onSilence called when the client has not answered the last
   */
  check(interval: number, now: number, onSilence: () => void): void {
    const { socket, webSocket } = this;
    this.sentAt ??= now;
    if (now - this.sentAt < interval) {
      return;
    }
    this.sentAt = now;
    if (socket.writableLength > 0 || webSocket.isPaused) {
      // It would stand behind what the client has not taken, or its answer behind what nobody reads.
      this.readBefore = undefined;
    } else if (this.readBefore === socket.bytesRead) {
      // After a long turn of the event loop, or when the process was stopped, the answer may be there and not have been read.
      setImmediate(() => this.readBefore === socket.bytesRead && onSilence());
    } else {
      this.readBefore = socket.bytesRead;
      webSocket.ping();
    }
  }
}
