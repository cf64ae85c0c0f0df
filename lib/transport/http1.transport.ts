import { type OutgoingHttpHeader, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { writeThrough } from './framing-headers.js';
import { liftIdleTimeout, restoreIdleTimeout } from './idle-timeout.js';
import { TRUNCATION_DELAY_MS } from './linger.js';
import type { SharedChunk } from './shared-chunk.js';
import { onceSocketCloses } from './socket-close.js';
import { declareLength, hasLength, STREAM_HEADERS } from './stream-headers.js';
import type { OutgoingHeaders, Transport, TransportListener } from './transport.js';
import { saysAborted } from './upload.js';

/** Silence after which TCP keep-alive probes start. */
const PROBE_AFTER_MS = 15_000;

const TRANSPORT = Symbol('nestjs-streaming:transport');

/** What compression middleware adds to a response, and what we do. */
type FlushableResponse = ServerResponse & { flush?: () => void; [TRANSPORT]?: Http1Transport };

/**
 * Has a transport know who else ends its response, as a timeout middleware does. To ask the response for every chunk would be the
 * larger part of what a chunk costs: each of Express's has a shape of its own.
 */
function noteEnd(this: FlushableResponse, ...args: unknown[]): FlushableResponse {
  this[TRANSPORT]?.onEnd();
  return Reflect.apply(ServerResponse.prototype.end, this, args) as FlushableResponse;
}

/** One for all: a closure for each response would take 100 bytes as long as it lives. */
function onResponseClose(this: FlushableResponse): void {
  this[TRANSPORT]?.onClose();
}

/** HTTP/1.1 (chunked) and HTTP/1.0 (delimited by the end of the connection), through the response Node.js made (RFC 9112). */
export class Http1Transport implements Transport {
  readonly protocol = 'http/1.1';
  private listener: TransportListener | undefined;
  private stopWatching: (() => void) | undefined;
  private awaitsDrain = false;
  private head: OutgoingHeaders | undefined;
  private waits = true;
  /** Whether its connection has no idle timeout because of it. */
  private lifted = false;
  /** Whether the head has a `Content-Length`. */
  private sized = false;
  /**
   * Where framed chunks may go past the response. `unsent` until we have sent the head, which the response does not tell: others may have
   * sent theirs; `unknown` until it is asked for.
   */
  private direct: Socket | undefined | 'unsent' | 'unknown' = 'unsent';

  constructor(private readonly response: FlushableResponse) {}

  get headers(): Readonly<Record<string, string>> {
    return STREAM_HEADERS;
  }

  get hasBody(): boolean {
    const { statusCode, req } = this.response;
    return req.method !== 'HEAD' && statusCode !== 204 && statusCode !== 205 && statusCode !== 304;
  }

  get bufferedAmount(): number {
    return this.response.writableLength;
  }

  get closed(): boolean {
    return this.response.destroyed || this.response.req.socket.destroyed;
  }

  get queued(): boolean {
    // Once it is at the head of its connection, it stays there. The clock asks often.
    this.waits &&= this.response.socket === null;
    return this.waits;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    this.response[TRANSPORT] = this;
    this.response.on('close', onResponseClose);
    this.lifted = liftIdleTimeout(this.response.req.socket);
    if (this.queued) {
      // Node.js tells only the response at the head of a connection that it is gone.
      this.stopWatching = onceSocketCloses(this.response.req.socket, () => this.onClose());
    }
  }

  begin(headers: OutgoingHeaders): void {
    this.head = headers;
  }

  flushHead(): void {
    this.writeHead();
    this.response.flushHeaders();
    this.noteHead();
  }

  write(data: string | Uint8Array): boolean {
    if (this.response.writableEnded || this.response.destroyed) {
      // Somebody else ended it, as a timeout middleware does. What follows is the close.
      return false;
    }
    const more = this.response.headersSent ? this.response.write(data) : this.writeFirst(data);
    this.noteHead();
    this.response.flush?.();
    if (!more && !this.awaitsDrain) {
      // Added once and kept: compression middleware cannot take a listener of its stream away again.
      this.awaitsDrain = true;
      this.response.on('drain', () => this.listener?.onDrain());
    }
    return more;
  }

  writeShared(chunk: SharedChunk): boolean {
    if (this.direct === 'unknown' && this.response.socket) {
      this.direct = directSocket(this.response);
      if (this.direct) {
        this.response.end = noteEnd;
      }
    }
    const socket = this.direct;
    if (typeof socket !== 'object') {
      return this.write(chunk.bytes);
    }
    socket.write(chunk.chunked);
    // Not what write() returned: that is about a moment before the operating system has taken anything.
    if (socket.writableLength < socket.writableHighWaterMark) {
      return true;
    }
    socket.once('drain', () => this.listener?.onDrain());
    return false;
  }

  end(data?: string | Uint8Array): void {
    const { head, response } = this;
    response.once('finish', () => this.listener?.onFinish());
    // 205 has no content, and has to say so (RFC 9110 §15.3.6).
    if (head && (this.hasBody || response.statusCode === 205)) {
      declareLength(response, head, data);
    }
    this.writeHead();
    response.end(data);
  }

  truncate(data: string | Uint8Array = ''): void {
    const { response } = this;
    try {
      if (data.length > 0) {
        this.write(data);
      }
      this.flushHead();
    } catch {
      // Not even the head can be written, as when middleware has patched writeHead(): that is why it ends, and is known.
      this.destroy();
      return;
    }
    const { socket } = response;
    if (socket === null) {
      response.req.socket.destroy();
    } else if (response.chunkedEncoding || this.sized) {
      setTimeout(() => socket.destroySoon(), TRUNCATION_DELAY_MS);
    } else {
      // Only a reset tells a client that reads up to the end of the connection.
      setTimeout(() => socket.write('', () => reset(socket)), TRUNCATION_DELAY_MS);
    }
  }

  probe(): void {
    this.response.socket?.setKeepAlive(true, PROBE_AFTER_MS);
  }

  saysAborted(error: unknown): boolean {
    return saysAborted(error, this.response.req);
  }

  destroy(): void {
    this.response.req.socket.destroy();
  }

  private noteHead(): void {
    if (this.direct === 'unsent') {
      this.direct = 'unknown';
    }
  }

  private writeHead(): void {
    const { head, response } = this;
    if (head && !response.headersSent) {
      this.head = undefined;
      this.sized = hasLength(response, head);
      if (response.writeHead === ServerResponse.prototype.writeHead) {
        response.writeHead(response.statusCode, head as OutgoingHttpHeader[]);
      } else {
        this.listener?.onDropped?.(writeThrough(response, head));
      }
    }
  }

  /** The head and the first bytes in one system call. */
  private writeFirst(data: string | Uint8Array): boolean {
    const { response } = this;
    const { socket } = response;
    this.writeHead();
    // Written by itself, the head becomes one flat string. Node.js keeps it as long as the response lives: as the 25 pieces
    // it is made of, it takes a kilobyte more.
    socket?.cork();
    response.flushHeaders();
    const more = response.write(data);
    socket?.uncork();
    return more;
  }

  /** @internal Somebody ends the response: nothing may go past it any more. */
  onEnd(): void {
    this.direct = undefined;
  }

  /** @internal */
  onClose(): void {
    if (this.lifted) {
      this.lifted = false;
      restoreIdleTimeout(this.response.req.socket);
    }
    this.stopWatching?.();
    this.stopWatching = undefined;
    this.listener?.onClose();
  }
}

/**
 * The socket of a response that adds nothing to a chunk but its frame, which a shared chunk has already. Two thirds of
 * what the response's own write() costs are then saved. Not with middleware that has a write() of its own (compression), nor
 * when what is written does not go out at once.
 */
function directSocket(response: FlushableResponse): Socket | undefined {
  const { socket } = response;
  const plain = response.write === ServerResponse.prototype.write && response.chunkedEncoding;
  return socket && plain && response.writableLength === socket.writableLength ? socket : undefined;
}

function reset(socket: Socket): void {
  // Neither TLS nor a Unix socket can be reset.
  if (socket instanceof TLSSocket || socket.remoteAddress === undefined) {
    socket.destroy();
  } else {
    socket.resetAndDestroy();
  }
}
