import { StreamClientError, type StreamClientErrorCode, StreamResponseError } from '../errors.js';
import type { ClientState, ConnectOptions, StreamItem } from '../options.js';

/** The part of a `MessagePort` that is used. */
export interface Port {
  onmessage: ((event: { readonly data: never }) => void) | null;
  postMessage(message: unknown, transfer?: object[]): void;
  addEventListener(type: 'close', listener: () => void): void;
  close(): void;
}

/** Tells a request for a stream from messages of the application on the same port. */
export const OPEN = 'nestjs-streaming:open';

/** The options that are sent to the worker. */
type SentOptions = Omit<ConnectOptions, 'headers'> & { readonly headers?: [string, string][] };

/** A request for a stream. It comes with a port, on which the other messages are sent. */
export interface OpenRequest {
  readonly type: typeof OPEN;
  readonly url: string;
  readonly options: SentOptions;
  /** Whether the worker has to ask for the headers. */
  readonly asks: boolean;
  /** The lock that the tab holds as long as it exists. */
  readonly lock: string | undefined;
}

/** What happens on a stream. Each part has the id after which the stream would resume then. */
export type Part = { readonly id: string } & (
  | { readonly name: 'item'; readonly value: StreamItem }
  | { readonly name: 'reset' | 'lagged'; readonly value: unknown }
  | { readonly name: 'state'; readonly value: ClientState; readonly error?: PlainError | undefined }
  | { readonly name: 'end'; readonly error?: PlainError | undefined }
);

export type ToTab =
  | { readonly type: 'parts'; readonly parts: readonly Part[] }
  /** The lock that the worker holds as long as it exists. */
  | { readonly type: 'lock'; readonly lock: string }
  /** The worker needs headers. */
  | { readonly type: 'ask'; readonly question: number };

export type ToWorker =
  /** The tab has read all parts, and wants more. */
  | { readonly type: 'pull' }
  | { readonly type: 'close' }
  | {
      readonly type: 'answer';
      readonly question: number;
      readonly headers?: [string, string][];
      readonly error?: PlainError;
    };

/** An error, as it is sent: the structured clone of an error has neither its class nor its properties. */
export interface PlainError {
  readonly message: string;
  readonly name?: string | undefined;
  readonly code?: StreamClientErrorCode | undefined;
  readonly status?: number | undefined;
  readonly body?: unknown;
  readonly retryAfter?: number | undefined;
}

export function plain(error: unknown): PlainError {
  const {
    message = String(error),
    name,
    code,
    status,
    body,
    retryAfter,
  } = Object(error) as Partial<StreamResponseError>;
  return { message, name, code, status, body, retryAfter };
}

export function errorOf({ message, name, code, status, body, retryAfter }: PlainError): Error {
  if (status !== undefined && (code === 'response' || code === 'failed')) {
    return new StreamResponseError(code, body, status, retryAfter);
  }
  if (code !== undefined) {
    return new StreamClientError(code, message);
  }
  // fetch() throws a TypeError if the network is down: the client tries again.
  return name === 'TypeError' ? new TypeError(message) : new Error(message);
}
