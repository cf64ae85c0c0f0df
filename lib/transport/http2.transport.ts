import type { Http2ServerResponse } from 'node:http2';
import { dropResponse, INTERNAL_ERROR } from './drop-response.js';
import { probeSession } from './http2-session.js';
import { liftIdleTimeout, restoreIdleTimeout, type TimedConnection } from './idle-timeout.js';
import { TRUNCATION_DELAY_MS } from './linger.js';
import type { SharedChunk } from './shared-chunk.js';
import { declareLength, STREAM_HEADERS } from './stream-headers.js';
import type { OutgoingHeaders, Transport, TransportListener } from './transport.js';
import { saysAborted } from './upload.js';

/** One stream of an HTTP/2 session, through the response of Node's compatibility API (RFC 9113). */
export class Http2Transport implements Transport {
  readonly protocol = 'http/2';
  readonly queued = false;
  readonly carrier: object;
  private listener: TransportListener | undefined;
  private head: OutgoingHeaders | undefined;
  private checkedAt = 0;

  constructor(private readonly response: Http2ServerResponse) {
    const { stream } = response;
    // Kept, since a stream that is destroyed no longer knows its session.
    this.carrier = stream.session ?? stream;
  }

  get headers(): Readonly<Record<string, string>> {
    return STREAM_HEADERS;
  }

  get hasBody(): boolean {
    const { statusCode, req } = this.response;
    // Node.js also ends the stream of a 205 with its head, since that status has no content (RFC 9110 §15.3.6).
    return req.method !== 'HEAD' && statusCode !== 204 && statusCode !== 205 && statusCode !== 304;
  }

  get bufferedAmount(): number {
    return this.response.stream.writableLength;
  }

  get closed(): boolean {
    const { stream } = this.response;
    return stream.destroyed || stream.closed;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    const { stream } = this.response;
    stream.on('drain', () => listener.onDrain());
    stream.on('aborted', () => {
      listener.onClose();
      // Otherwise the stream and its session would stay in memory for as long as the application does not read the body of the request.
      process.nextTick(() => stream.destroy());
    });
    stream.on('end', () => {
      // No other event reports a reset with NO_ERROR that arrives after the last write, before all bytes are sent.
      if (stream.closed) {
        stream.destroy();
      }
    });
    const session: TimedConnection | undefined = stream.session;
    const lifted = session && liftIdleTimeout(session);
    stream.on('close', () => {
      if (lifted) {
        restoreIdleTimeout(session);
      }
      listener.onClose();
    });
  }

  begin(headers: OutgoingHeaders): void {
    this.head = headers;
  }

  flushHead(): void {
    const { response } = this;
    if (!response.headersSent) {
      this.writeHead(response);
    }
  }

  write(data: string | Uint8Array): boolean {
    return this.send(data);
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.send(chunk.bytes);
  }

  end(data?: string | Uint8Array): void {
    const { head, response } = this;
    const { stream } = response;
    stream.once('finish', () => {
      // The event is also emitted after a reset.
      if (!stream.aborted) {
        this.listener?.onFinish();
      }
    });
    if (head && this.hasBody) {
      declareLength(response, head, data);
    }
    this.flushHead();
    data === undefined ? response.end() : response.end(data);
  }

  truncate(data: string | Uint8Array = ''): void {
    const { stream } = this.response;
    try {
      // A reset discards the bytes that did not fit in the client's flow-control window yet.
      this.send(data, () => setTimeout(() => stream.close(INTERNAL_ERROR), TRUNCATION_DELAY_MS));
    } catch {
      // The head cannot be written. That error is why the stream ends: it is reported already.
      this.destroy();
    }
  }

  probe(): void {
    probeSession(this.response.stream.session);
  }

  /**
   * After some protocol errors of a client, Node.js neither reads from its session nor writes to it, but does not close it either, so that
   * written bytes stay in memory. Such a session does not answer a PING, whereas a client that is only slow does.
   */
  check(interval: number, now: number): number {
    if (now - this.checkedAt >= interval) {
      this.checkedAt = now;
      if (this.bufferedAmount > 0) {
        this.probe();
      }
    }
    return this.checkedAt + interval;
  }

  saysAborted(error: unknown): boolean {
    return saysAborted(error, this.response.req);
  }

  destroy(): void {
    dropResponse(this.response);
  }

  private send(data: string | Uint8Array, onSent?: () => void): boolean {
    const { response } = this;
    const { stream } = response;
    if (response.writableEnded || stream.writableEnded || stream.destroyed) {
      // Other code ended the response, or the client disconnected. The event `close` follows.
      return false;
    }
    this.flushHead();
    return onSent ? response.write(data, 'utf8', onSent) : response.write(data, 'utf8');
  }

  private writeHead(response: Http2ServerResponse): void {
    const head = this.head ?? [];
    for (let i = 0; i < head.length; i += 2) {
      response.setHeader(head[i] as string, head[i + 1] as string);
    }
    this.head = undefined;
    response.writeHead(response.statusCode);
  }
}
