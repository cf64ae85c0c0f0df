import type { Socket } from 'node:net';
import type { StreamCloseCode } from '../util/errors.js';
import type { SharedChunk } from './shared-chunk.js';

/** Notified by a transport; implemented by the connection. */
export interface TransportListener {
  /** Whether the chunks of the stream are also sent to other clients, as those of a hub are. */
  readonly endless: boolean;
  /** Writes to {@link Transport.directSocket}, until the body ends. */
  readonly reader?: { endDirect?(): void } | undefined;
  /** Called when the transport can accept more bytes. */
  onDrain(): void;
  /** Called with a text message of a WebSocket client. Returns whether the message is handled, so that readers do not receive it. */
  onMessage?(message: Buffer): boolean;
  /** Called when the operating system has taken all of the body. */
  onFinish(): void;
  /** Called when the connection to the client is closed. `error` is the error of the client that caused it, if it is known. */
  onClose(error?: Error): void;
  /** Called if middleware has set these headers while the head was written. They are not sent, since they would frame the message again. */
  onDropped?(names: readonly string[]): void;
  /** Called when the body cannot be sent. */
  fail(error: unknown): void;
}

/** Headers in the form that Node.js writes fastest: a name in lower case, its value, the next name, … */
export type OutgoingHeaders = (number | string | readonly string[])[];

/** The protocol of a client. HTTP/1.0 counts as HTTP/1.1. */
export type WireProtocol = 'http/1.1' | 'http/2' | 'websocket';

/** Writes the bytes of one stream to its client. */
export interface Transport {
  readonly protocol: WireProtocol;
  /** The default headers of a stream, with names in lower case. They do not replace those that the application has set. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the response has a body. `false` for HEAD, and for a status without one. */
  readonly hasBody: boolean;
  /** The number of bytes that were written, but not yet taken by the operating system. */
  readonly bufferedAmount: number;
  /** Whether the client is disconnected. */
  readonly closed: boolean;
  /** Whether the data of one write must not be divided, whatever its size. Default: `false`. */
  readonly whole?: boolean;
  /** The socket or the HTTP/2 session that carries the stream, and may carry others. It stays the same after the end. */
  readonly carrier: object;
  /** Whether an earlier response on the same connection holds this one back (HTTP/1.1 pipelining). */
  readonly queued: boolean;
  /** The socket, if framed chunks may be written to it directly. `undefined`, also for a transport without it: not, or not yet. */
  readonly directSocket?: Socket | undefined;
  listen(listener: TransportListener): void;
  /** Sets headers to send with the first bytes, in addition to those that are set on the response. */
  begin(headers: OutgoingHeaders): void;
  /** Sends the head now, without waiting for the body. */
  flushHead(): void;
  /** Writes bytes. Returns `false` if the caller should wait for `onDrain` before it writes more. */
  write(data: string | Uint8Array): boolean;
  /** Like {@link write}, for bytes that are sent on many connections. */
  writeShared(chunk: SharedChunk): boolean;
  /** Called when {@link directSocket} is full. `onDrain` follows. */
  awaitDrain?(): void;
  /** Ends the body so that the client knows that it is complete. `onFinish` follows. */
  end(data: string | Uint8Array | undefined, why: StreamCloseCode): void;
  /**
   * Writes the data, then cuts the body off so that the client knows that it is incomplete. `onClose` follows.
   * @param status the HTTP status of the error that is the cause
   */
  truncate(data?: string | Uint8Array, status?: number): void;
  /** Starts a check below this stream (TCP keep-alive, PING) whether the client still responds, for times when nothing can be written. */
  probe(): void;
  /**
   * Called while the stream is open. Checks, at most once per `interval` milliseconds, whether the client still responds.
   * @returns when it must be called again
   */
  check?(interval: number, now: number): number;
  /** Starts to queue messages of the client, within limits, until they are read. */
  expect?(): void;
  /**
   * Returns the messages of the client; the same object for every call. Transports without this method receive no messages.
   * @param onWait called when a reader starts to wait for a message
   */
  receive?(onWait: () => void): AsyncIterable<string | Uint8Array>;
  /** Returns whether an error only means that the client disconnected before it had sent its whole request. Without this method: `false`. */
  saysAborted?(error: unknown): boolean;
  /** Closes the connection immediately. `onClose` follows. */
  destroy(why: StreamCloseCode): void;
}
