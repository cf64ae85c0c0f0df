import { type OutgoingHttpHeader, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { dropResponse } from './drop-response.js';
import { writeThrough } from './framing-headers.js';
import { liftIdleTimeout, restoreIdleTimeout } from './idle-timeout.js';
import { TRUNCATION_DELAY_MS } from './linger.js';
import { onceResponseCloses } from './response-close.js';
import { writeOnce } from './round-writer.js';
import type { SharedChunk } from './shared-chunk.js';
import { onceSocketCloses } from './socket-close.js';
import { declareLength, hasLength, STREAM_HEADERS } from './stream-headers.js';
import type { OutgoingHeaders, Transport, TransportListener } from './transport.js';
import { saysAborted } from './upload.js';

/** Silence after which TCP keep-alive probes start. */
const PROBE_AFTER_MS = 15_000;

const TRANSPORT = Symbol('nestjs-streaming:transport');

/** A response, with the method that compression middleware adds to it, and a property of ours. */
type FlushableResponse = ServerResponse & { flush?: () => void; [TRANSPORT]?: Http1Transport };

/**
 * Replaces `end()` of a response, to notice when other code ends it, such as timeout middleware. Reading `writableEnded` for every chunk
 * instead would be the larger part of what a chunk costs, since every response of Express has a different hidden class.
 */
function endAndNotify(this: FlushableResponse, ...args: unknown[]): FlushableResponse {
  this[TRANSPORT]?.onEnd();
  return Reflect.apply(ServerResponse.prototype.end, this, args) as FlushableResponse;
}

/** Replaces `end()` of a response so that {@link Http1Transport.onEnd} is called before it. */
function watchEnd(response: FlushableResponse): void {
  const { end } = response;
  response.end =
    end === ServerResponse.prototype.end
      ? endAndNotify
      : // Middleware has replaced it before, for example to save a session. Only then, a function for each response is needed.
        function (this: FlushableResponse, ...args: unknown[]): FlushableResponse {
          this[TRANSPORT]?.onEnd();
          return Reflect.apply(end, this, args) as FlushableResponse;
        };
}

/** One function for all responses: a closure for each response would take 100 bytes as long as the response lives. */
function onResponseClose(this: FlushableResponse): void {
  this[TRANSPORT]?.onClose();
}

/**
 * HTTP/1.1 (with the chunked coding) and HTTP/1.0 (where the body lasts until the connection is closed), through the `ServerResponse` of
 * Node.js (RFC 9112).
 */
export class Http1Transport implements Transport {
  private listener: TransportListener | undefined;
  private stopWatching: (() => void) | undefined;
  private awaitsDrain = false;
  private head: OutgoingHeaders | undefined;
  private waits = true;
  /** Whether this transport has lifted the idle timeout of its connection. */
  private lifted = false;
  /** Whether the head has a `Content-Length`. */
  private sized = false;
  /**
   * The socket, if framed chunks can be written to it directly. `unsent` until this transport has sent the head: `headersSent` of the
   * response is also true if other code has sent one. `unknown` until a shared chunk is written.
   */
  private direct: Socket | undefined | 'unsent' | 'unknown' = 'unsent';

  constructor(private readonly response: FlushableResponse) {}

  get protocol(): 'http/1.1' {
    return 'http/1.1';
  }

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

  get carrier(): object {
    return this.response.req.socket;
  }

  get queued(): boolean {
    // A response that is the first of its connection stays the first. The result is kept, as the stream clock reads this often.
    this.waits &&= this.response.socket === null;
    return this.waits;
  }

  get directSocket(): Socket | undefined {
    return typeof this.direct === 'object' ? this.direct : undefined;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    this.response[TRANSPORT] = this;
    onceResponseCloses(this.response, onResponseClose);
    this.lifted = liftIdleTimeout(this.response.req.socket);
    if (this.queued) {
      // When a socket closes, Node.js emits `close` only on the first response of the connection.
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
      // Other code ended the response, such as timeout middleware. The event `close` follows.
      return false;
    }
    const more = this.response.headersSent ? this.response.write(data) : this.writeFirst(data);
    this.noteHead();
    this.response.flush?.();
    if (!more && !this.awaitsDrain) {
      // Added once and never removed: compression middleware adds listeners to its own stream, and cannot remove them.
      this.awaitsDrain = true;
      this.response.on('drain', () => this.listener?.onDrain());
    }
    return more;
  }

  writeShared(chunk: SharedChunk): boolean {
    const socket = this.socketFor(chunk);
    if (!socket) {
      return this.write(chunk.bytes);
    }
    // Not caught: an error of a write() that a tool has replaced fails the stream.
    if (writeOnce(socket, chunk.chunked)) {
      return true;
    }
    this.awaitDrain(socket);
    return false;
  }

  awaitDrain(socket = this.directSocket): void {
    socket?.once('drain', () => this.listener?.onDrain());
  }

  end(data?: string | Uint8Array): void {
    const { head, response } = this;
    response.once('finish', () => this.listener?.onFinish());
    // A response with status 205 has no content, and must declare that (RFC 9110 §15.3.6).
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
      // The head cannot be written, for example because a patched writeHead() throws. That error is why the stream ends: it is reported already.
      this.destroy();
      return;
    }
    const { socket } = response;
    if (socket === null) {
      response.req.socket.destroy();
    } else if (response.chunkedEncoding || this.sized) {
      setTimeout(() => socket.destroySoon(), TRUNCATION_DELAY_MS);
    } else {
      // The body lasts until the connection is closed, so that only a reset tells the client that it is incomplete.
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
    dropResponse(this.response);
  }

  /** Returns the socket, if a framed chunk can be written to it directly. */
  private socketFor({ count }: SharedChunk): Socket | undefined {
    const { direct, response } = this;
    if (direct !== 'unknown' || !response.socket) {
      return typeof direct === 'object' ? direct : undefined;
    }
    // Other code may have ended the response before: its last chunk is written then.
    const socket = response.writableEnded || response.destroyed ? undefined : directSocket(response);
    if (count === 0) {
      // A heartbeat of a stream that shares no chunks. Replacing end() would take memory in each silent stream, so it is not remembered.
      return socket;
    }
    this.direct = socket;
    if (socket) {
      watchEnd(response);
    }
    return socket;
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

  /** Writes the head and the first bytes in one system call. */
  private writeFirst(data: string | Uint8Array): boolean {
    const { response } = this;
    const { socket } = response;
    this.writeHead();
    // When the head is flushed separately, V8 flattens it to one string. Node.js keeps the head as long as the response lives: as a
    // concatenation of 25 pieces, it would take one kilobyte more.
    socket?.cork();
    response.flushHeaders();
    const more = response.write(data);
    socket?.uncork();
    return more;
  }

  /** @internal Called when the response is ended: from now on, nothing may be written to the socket directly. */
  onEnd(): void {
    this.direct = undefined;
    this.listener?.reader?.endDirect?.();
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
 * Returns the socket of a response if shared chunks, which are framed already, can be written to it directly. That saves two thirds of
 * the cost of `response.write()`. Returns `undefined` if middleware (compression) has replaced `write()`, or if the response buffers
 * bytes itself.
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
