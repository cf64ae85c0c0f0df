import type { Http2ServerResponse } from 'node:http2';
import { probeSession } from './http2-session.js';
import { liftIdleTimeout, restoreIdleTimeout, type TimedConnection } from './idle-timeout.js';
import { TRUNCATION_DELAY_MS } from './linger.js';
import type { SharedChunk } from './shared-chunk.js';
import { declareLength, STREAM_HEADERS } from './stream-headers.js';
import type { OutgoingHeaders, Transport, TransportListener } from './transport.js';
import { saysAborted } from './upload.js';

/** An error code (RFC 9113 §7). Not CANCEL: the client of Node.js then ends the body as if that were whole. */
const INTERNAL_ERROR = 0x2;

/** One stream of an HTTP/2 session, through the response of Node's compatibility API (RFC 9113). */
export class Http2Transport implements Transport {
  readonly protocol = 'http/2';
  readonly queued = false;
  private listener: TransportListener | undefined;
  private head: OutgoingHeaders | undefined;
  private checkedAt = 0;

  constructor(private readonly response: Http2ServerResponse) {}

  get headers(): Readonly<Record<string, string>> {
    return STREAM_HEADERS;
  }

  get hasBody(): boolean {
    const { statusCode, req } = this.response;
    // Node.js ends a stream with 205 too, as a client would take it for one without content (RFC 9110 §15.3.6).
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
      // Else it would stay, and its session with it, as long as the application leaves the body of the request unread.
      process.nextTick(() => stream.destroy());
    });
    stream.on('end', () => {
      // A reset with NO_ERROR that comes when all has been written, and not all sent, is told in no other way.
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
      // Also when a reset has ended it.
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
      // A reset takes along what the client's window has had no room for yet.
      this.send(data, () => setTimeout(() => stream.close(INTERNAL_ERROR), TRUNCATION_DELAY_MS));
    } catch {
      // Not even the head can be written: that is why it ends, and is known.
      this.destroy();
    }
  }

  probe(): void {
    probeSession(this.response.stream.session);
  }

  /**
   * After some offences of a client against the protocol, Node.js neither reads from its session nor sends anything, and does not close it:
   * what is written stays here. Such a session does not answer a PING; one whose client only takes its time does.
   */
  check(interval: number, now: number): void {
    if (now - this.checkedAt >= interval) {
      this.checkedAt = now;
      if (this.bufferedAmount > 0) {
        this.probe();
      }
    }
  }

  saysAborted(error: unknown): boolean {
    return saysAborted(error, this.response.req);
  }

  destroy(): void {
    const { stream } = this.response;
    stream.close(INTERNAL_ERROR);
    // The reset waits for its turn on the connection, of which the client may take nothing. We do not.
    stream.destroy();
  }

  private send(data: string | Uint8Array, onSent?: () => void): boolean {
    const { response } = this;
    const { stream } = response;
    if (response.writableEnded || stream.writableEnded || stream.destroyed) {
      // Somebody else ended it, or the client is gone. What follows is the close.
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
