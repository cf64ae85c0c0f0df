import type { Socket } from 'node:net';
import type { WebSocketLike } from './ws.js';

/** Sends the pings of a WebSocket, to check whether its client still responds (RFC 6455 §5.5.2). */
export class Pings {
  private sentAt: number | undefined;
  /** `socket.bytesRead` at the last ping. `undefined` if none was sent, or if an answer could not be expected. */
  private readBefore: number | undefined;

  constructor(
    private readonly webSocket: WebSocketLike,
    private readonly socket: Socket,
  ) {}

  /**
   * Sends a ping if none was sent for this number of milliseconds.
   * @param now the current time on the clock of the caller, in milliseconds
   * @param onSilence called if the client has sent nothing since the last ping
   */
  check(interval: number, now: number, onSilence: () => void): void {
    const { socket, webSocket } = this;
    this.sentAt ??= now;
    if (now - this.sentAt < interval) {
      return;
    }
    this.sentAt = now;
    if (socket.writableLength > 0 || webSocket.isPaused) {
      // The ping would wait behind bytes that the client has not read, or its answer behind messages that are not read here.
      this.readBefore = undefined;
    } else if (this.readBefore === socket.bytesRead) {
      // After a long turn of the event loop, or after the process was suspended, the answer may have arrived, but not been read yet.
      setImmediate(() => this.readBefore === socket.bytesRead && onSilence());
    } else {
      this.readBefore = socket.bytesRead;
      webSocket.ping();
    }
  }
}
