/** What a transport tells its connection. */
export interface TransportListener {
  /** The client can take more. */
  onDrain(): void;
  /** All of the body has been handed to the operating system. */
  onFinish(): void;
  /** The connection to the client is gone. */
  onClose(): void;
}

/** Bytes → the wire. */
export interface Transport {
  /** Whether the answer has a body at all: not for HEAD, nor for a status that has none. */
  readonly hasBody: boolean;
  /** Bytes accepted, but not yet taken by the operating system. */
  readonly bufferedAmount: number;
  /** Whether the client is gone. */
  readonly closed: boolean;
  /** Whether an earlier response on the same connection holds this one back (HTTP/1.1 pipelining). */
  readonly queued: boolean;
  listen(listener: TransportListener): void;
  /** Sends the head although there is no body yet. */
  flushHead(): void;
  /** Accepts bytes. `false`: enough for now, wait for `onDrain`. */
  write(data: string | Uint8Array): boolean;
  /** Ends the body so that the client knows it is whole. `onFinish` follows. */
  end(data?: string | Uint8Array): void;
  /** Ends the body, after what was written, so that the client knows it is not whole. `onClose` follows. */
  truncate(): void;
  /** Drops the connection at once. `onClose` follows. */
  destroy(): void;
}
