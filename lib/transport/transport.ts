import type { StreamCloseCode } from '../util/errors.js';
import type { SharedChunk } from './shared-chunk.js';

/** The connection, as its transport notifies it. */
export interface TransportListener {
  /** Whether it sends what many others are sent too. */
  readonly endless: boolean;
  /** The client can take more. */
  onDrain(): void;
  /** All of the body has been handed to the operating system. */
  onFinish(): void;
  /** The connection to the client is gone; because of an error of the client's, if it is known. */
  onClose(error?: Error): void;
  /** Middleware has set these headers as the head was written. They are not sent, since they would frame the message again. */
  onDropped?(names: readonly string[]): void;
  /** The body cannot be sent. */
  fail(error: unknown): void;
}

/** Headers as Node.js writes them fastest: a name in lower case, its value, the next name, … */
export type OutgoingHeaders = (number | string | readonly string[])[];

/** What a client speaks; HTTP/1.0 counts as HTTP/1.1. */
export type WireProtocol = 'http/1.1' | 'http/2' | 'websocket';

/** Bytes → the wire. */
export interface Transport {
  readonly protocol: WireProtocol;
  /** What it sends with every stream, unless the application has set its own. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the answer has a body at all: not for HEAD, nor for a status that has none. */
  readonly hasBody: boolean;
  /** Bytes accepted, but not yet taken by the operating system. */
  readonly bufferedAmount: number;
  /** Whether the client is gone. */
  readonly closed: boolean;
  /** Whether what is written at once has to stay together, however large. Default: no. */
  readonly whole?: boolean;
  /** Whether an earlier response on the same connection holds this one back (HTTP/1.1 pipelining). */
  readonly queued: boolean;
  listen(listener: TransportListener): void;
  /** Takes over these headers, besides those the response has. They go out with the first bytes. */
  begin(headers: OutgoingHeaders): void;
  /** Sends the head although there is no body yet. */
  flushHead(): void;
  /** Accepts bytes. `false`: wait for `onDrain`. */
  write(data: string | Uint8Array): boolean;
  /** Like {@link write}, for bytes that are sent on many connections. */
  writeShared(chunk: SharedChunk): boolean;
  /** Ends the body so that the client knows it is whole. `onFinish` follows. */
  end(data: string | Uint8Array | undefined, why: StreamCloseCode): void;
  /**
   * Ends the body, after what was written and this, so that the client knows it is not whole. `onClose` follows.
   * @param status that of the error that is the cause
   */
  truncate(data?: string | Uint8Array, status?: number): void;
  /** Has the operating system find out whether the client is still there, when nothing can be written to find out. */
  probe(): void;
  /** Called often while the stream is open. Checks, at most once per `interval` milliseconds, whether the client still responds. */
  check?(interval: number, now: number): void;
  /** Has what the client sends kept, within bounds, until it is asked for. */
  expect?(): void;
  /**
   * What the client sends: the same each time. Without it, a client cannot send anything.
   * @param onWait called when it is read and there is nothing yet
   */
  receive?(onWait: () => void): AsyncIterable<string | Uint8Array>;
  /** Whether an error says no more than that the client left before it had sent its whole request. Without it, none does. */
  saysAborted?(error: unknown): boolean;
  /** Drops the connection at once. `onClose` follows. */
  destroy(why: StreamCloseCode): void;
}
