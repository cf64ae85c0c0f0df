import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { onceSocketCloses } from './socket-close.js';
import type { Transport, TransportListener } from './transport.js';

/** What compression middleware adds to a response. */
type FlushableResponse = ServerResponse & { flush?: () => void };

/** HTTP/1.1 (chunked) and HTTP/1.0 (delimited by the end of the connection), through the response Node.js made (RFC 9112). */
export class Http1Transport implements Transport {
  private listener: TransportListener | undefined;
  private stopWatching: (() => void) | undefined;
  private awaitsDrain = false;

  constructor(private readonly response: FlushableResponse) {}

  get hasBody(): boolean {
    const { statusCode, req } = this.response;
    return req.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304;
  }

  get bufferedAmount(): number {
    return this.response.writableLength;
  }

  get closed(): boolean {
    return this.response.destroyed || this.response.req.socket.destroyed;
  }

  get queued(): boolean {
    return this.response.socket === null;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    this.response.on('close', () => this.onClose());
    if (this.queued) {
      // Node.js tells only the response at the head of a connection that it is gone.
      this.stopWatching = onceSocketCloses(this.response.req.socket, () => this.onClose());
    }
  }

  flushHead(): void {
    this.response.flushHeaders();
  }

  write(data: string | Uint8Array): boolean {
    const more = this.response.write(data);
    this.response.flush?.();
    if (!more && !this.awaitsDrain) {
      // Added once and kept: compression middleware cannot take a listener of its stream away again.
      this.awaitsDrain = true;
      this.response.on('drain', () => this.listener?.onDrain());
    }
    return more;
  }

  end(data?: string | Uint8Array): void {
    this.response.once('finish', () => this.listener?.onFinish());
    this.response.end(data);
  }

  truncate(): void {
    const { response } = this;
    if (!response.headersSent) {
      response.flushHeaders();
    }
    const { socket } = response;
    if (socket === null) {
      response.req.socket.destroy();
    } else if (response.chunkedEncoding || response.hasHeader('content-length')) {
      socket.destroySoon();
    } else {
      // Only a reset tells a client that reads up to the end of the connection.
      socket.write('', () => reset(socket));
    }
  }

  destroy(): void {
    this.response.req.socket.destroy();
  }

  private onClose(): void {
    this.stopWatching?.();
    this.stopWatching = undefined;
    this.listener?.onClose();
  }
}

function reset(socket: Socket): void {
  if (socket instanceof TLSSocket) {
    socket.destroy();
  } else {
    socket.resetAndDestroy();
  }
}
