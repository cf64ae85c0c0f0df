/**
 * Why a stream cannot be read, or ended early:
 * - `invalid-url`: the URL is none that `fetch()` accepts
 * - `invalid-option`: an option, a header or a body is wrong
 * - `invalid-state`: `send()` was called while no WebSocket is open
 * - `network`: the server cannot be reached, or the connection was lost
 * - `idle`: nothing was received for longer than the option `idle`
 * - `response`: the response has a status of 400 or above: see {@link StreamResponseError}
 * - `failed`: the server has sent an error record: see {@link StreamResponseError}
 * - `content-type`: the response is not in a format that this client reads, such as the HTML page of a proxy
 * - `invalid-data`: a record is not JSON
 * - `too-large`: an event is longer than the option `maxEventLength`, or an id is longer than 4096 characters
 * - `closed`: the server has closed the WebSocket, and a new one would be closed for the same reason
 */
export type StreamClientErrorCode =
  | 'invalid-url'
  | 'invalid-option'
  | 'invalid-state'
  | 'network'
  | 'idle'
  | 'response'
  | 'failed'
  | 'content-type'
  | 'invalid-data'
  | 'too-large'
  | 'closed';

/** Why a stream cannot be read. Its `cause` is the error of the platform, if there is one. */
export class StreamClientError extends Error {
  override name = 'StreamClientError';
  declare readonly code: StreamClientErrorCode;

  constructor(code: StreamClientErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/**
 * The server has refused the request (`code` is `response`), or has sent an error record after the last item (`code` is `failed`).
 */
export class StreamResponseError extends StreamClientError {
  override name = 'StreamResponseError';
  /** The status of the response, or the `statusCode` of the error record. */
  declare readonly status: number;
  /** The body of the response, about 65 536 characters at most, or the error record: the value of its JSON, or text if it is not JSON. */
  declare readonly body: unknown;
  /** How long the server wants the client to wait (`Retry-After`), in milliseconds. */
  declare readonly retryAfter: number | undefined;

  constructor(
    code: 'response' | 'failed',
    body: unknown,
    status: number = Object(body).statusCode ?? 500,
    retryAfter?: number,
  ) {
    super(code, `Server: ${status} ${Object(body).message ?? ''}`);
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}
