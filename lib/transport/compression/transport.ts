import type { StreamCloseCode } from '../../util/errors.js';
import type { SharedChunk } from '../shared-chunk.js';
import type { OutgoingHeaders, Transport, TransportListener } from '../transport.js';
import type { BodyCoding, BodySink } from './body-coding.js';
import type { CodingChoice } from './content-coding.js';
import { EncodedBody } from './encoded-body.js';
import { encodedHead, isFixed, type KnownHeaders } from './encoded-head.js';
import { GzipBlocks } from './gzip-blocks.js';

const NO_LISTENER: TransportListener = {
  endless: false,
  onDrain: () => undefined,
  onFinish: () => undefined,
  onClose: () => undefined,
  fail: () => undefined,
};

/**
 * Wraps a transport, and encodes the body as the client accepts it (RFC 9110 §8.4). Whether to encode is decided at the first
 * write: a body that is complete by then, and short, is sent as it is.
 */
export class CompressedTransport implements Transport, TransportListener {
  private listener = NO_LISTENER;
  private head: OutgoingHeaders = [];
  private coding: BodyCoding | undefined;
  /** Accepts the body, once it is decided whether to encode it. */
  private sink: BodySink | undefined;

  constructor(
    private readonly inner: Transport,
    private readonly response: KnownHeaders,
    private readonly choice: CodingChoice,
  ) {}

  get protocol(): Transport['protocol'] {
    return this.inner.protocol;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.inner.headers;
  }

  get hasBody(): boolean {
    return this.inner.hasBody;
  }

  get bufferedAmount(): number {
    return this.inner.bufferedAmount + (this.coding?.bufferedAmount ?? 0);
  }

  get closed(): boolean {
    return this.inner.closed;
  }

  get carrier(): object {
    return this.inner.carrier;
  }

  get queued(): boolean {
    return this.inner.queued;
  }

  get endless(): boolean {
    return this.listener.endless;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    this.inner.listen(this);
  }

  begin(headers: OutgoingHeaders): void {
    this.head = headers;
    if (isFixed(this.response, headers)) {
      this.sendUnchanged();
    } else if (!this.hasBody) {
      // The headers have to describe the body that a GET would return (RFC 9110 §8.6).
      this.head = encodedHead(undefined, this.response, headers);
      this.sendUnchanged();
    }
  }

  flushHead(): void {
    this.sinkFor();
    this.inner.flushHead();
  }

  write(data: string | Uint8Array): boolean {
    return this.sinkFor().write(data);
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.sinkFor().writeShared(chunk);
  }

  end(data: string | Uint8Array | undefined, why: StreamCloseCode): void {
    this.sinkFor(data ?? '').end(data, why);
  }

  truncate(data: string | Uint8Array = ''): void {
    this.sinkFor(data).truncate(data);
  }

  probe(): void {
    this.inner.probe();
  }

  saysAborted(error: unknown): boolean {
    return this.inner.saysAborted?.(error) === true;
  }

  check(interval: number, now: number): number {
    return this.inner.check?.(interval, now) ?? Number.POSITIVE_INFINITY;
  }

  destroy(why: StreamCloseCode): void {
    this.release();
    this.inner.destroy(why);
  }

  onDrain(): void {
    (this.coding ?? this.listener).onDrain();
  }

  onFinish(): void {
    this.listener.onFinish();
  }

  onDropped(names: readonly string[]): void {
    this.listener.onDropped?.(names);
  }

  onClose(): void {
    this.release();
    this.listener.onClose();
  }

  fail(error: unknown): void {
    this.listener.fail(error);
  }

  /** @param whole the complete rest of the body, if nothing follows it */
  private sinkFor(whole?: string | Uint8Array): BodySink {
    if (this.sink) {
      return this.sink;
    }
    const short = whole !== undefined && Buffer.byteLength(whole) < this.choice.threshold;
    return short ? this.sendUnchanged() : this.encode();
  }

  /** Sends the body as it is. */
  private sendUnchanged(): BodySink {
    this.inner.begin(this.head);
    this.sink = this.inner;
    return this.inner;
  }

  private encode(): BodySink {
    const { inner, listener, response } = this;
    const coding = listener.endless ? this.choice.shared : this.choice.coding;
    const blocks = listener.endless && coding === 'gzip';
    this.coding = blocks ? new GzipBlocks(inner, listener) : new EncodedBody(coding, inner, listener);
    inner.begin(encodedHead(coding, response, this.head));
    this.sink = this.coding;
    return this.coding;
  }

  private release(): void {
    this.coding?.release();
    this.coding = undefined;
    this.sink = this.inner;
  }
}
