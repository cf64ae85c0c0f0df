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
   * Fixes the head, with this content type and these headers (their names in lower case) where none of that name is set;
   * the body is ours from then on. A content type that clients need to read the body replaces another one.
   * @throws {StreamError} `invalid-header` when `Content-Length` is not one number of bytes
   */
  commit(
    contentType: BodyType | undefined,
    defaults: Readonly<Record<string, string>>,
  ): CommittedHead | PromiseLike<CommittedHead>;
  /** Says that the choice among formats was the client's (RFC 9110 §12.5.5). */
  vary(name: string): void;
  /** Takes back the headers that frame the body of the stream: an exception filter responds with another body. */
  release(): void;
  /** Gives a response up if its client disconnected before there was a head. */
  abandon(): void;
}
