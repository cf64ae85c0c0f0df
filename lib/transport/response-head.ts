import type { OutgoingHeaders } from './transport.js';

/** The media type of a body. */
export interface BodyType {
  /** The value of `Content-Type`. */
  readonly value: string;
  /** Whether clients need it to read the body. If not, a type that the application has set is sent instead. */
  readonly required: boolean;
}

/** The head of a response once it is fixed. */
export interface CommittedHead {
  /** The headers that the response does not know yet. */
  readonly headers: OutgoingHeaders;
  /** The length of the body in bytes, where the application has set `Content-Length`. */
  readonly length: number | undefined;
  /** The names of headers that the application has set and that are not sent: the server frames the message, the format has its own type. */
  readonly dropped: readonly string[];
}

/** The head of a response, before it is sent. Each platform has one. */
export interface ResponseHead {
  status(code: number): void;
  header(name: string, value: string | readonly string[]): void;
  /**
   * Fixes the head. Adds this content type and those of the default headers (with names in lower case) that are not set yet. From then on,
   * only the stream may write the body. A content type that clients need to read the body replaces one that the application has set.
   * @throws {StreamError} `invalid-header` when `Content-Length` is not one number of bytes
   */
  commit(
    contentType: BodyType | undefined,
    defaults: Readonly<Record<string, string>>,
  ): CommittedHead | PromiseLike<CommittedHead>;
  /** Adds the name of a request header to `Vary`, as the response depends on that header (RFC 9110 §12.5.5). */
  vary(name: string): void;
  /** Removes the headers that frame the body of the stream, since an exception filter responds with another body. */
  release(): void;
  /** Ends a response whose client disconnected before the head was fixed. */
  abandon(): void;
}
