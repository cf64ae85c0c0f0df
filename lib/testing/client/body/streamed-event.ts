import { isDeepStrictEqual } from 'node:util';

/**
 * One event or chunk of a stream under test, in the same form for every format. It has only the fields that were received:
 * `deepStrictEqual(await stream.next(), { data: { eur: 4 }, id: '7' })`.
 */
export interface StreamedEvent<T = unknown> {
  /**
   * The data, which depends on the format:
   * - SSE: the parsed value if the data is JSON, otherwise the text. With `json: false`, always the text
   * - NDJSON, JSON text sequences and JSON arrays: the parsed value
   * - other text: a piece of text as it was received from the network
   * - all other formats: a `Buffer` as it was received from the network
   *
   * It is only missing for an event without data, which is only returned with `all: true`.
   */
  readonly data: T;
  /** SSE: the `id` field. */
  readonly id?: string;
  /** SSE: the `event` field. */
  readonly type?: string;
  /** SSE: the `retry` field, in milliseconds. */
  readonly retry?: number;
  /** SSE: the text of a comment, which is empty for a heartbeat. With `all: true`, heartbeats of NDJSON are also events with an empty comment. */
  readonly comment?: string;
}

/**
 * How a stream under test ended: `complete`, `truncated` (the connection was closed before the end of the body, as after an error), or
 * `disconnected` (the test called `disconnect()`).
 */
export type StreamEnd = 'complete' | 'truncated' | 'disconnected';

/** Returns whether an event was sent by this package and has no data of the application: the `position` of a hub, or the `shutdown` of a server. */
export function isOwnNotice({ type, id, retry, data }: EventFields): boolean {
  const says = type === 'position' ? id : type === 'shutdown' ? retry : undefined;
  return says !== undefined && (data === '{}' || isDeepStrictEqual(data, {}));
}

/** The fields of an event that were received. */
export type EventFields = Partial<StreamedEvent>;

/** Parses the text of a body into events. */
export interface TextReader {
  read(text: string): EventFields[];
  /** Returns the events that the end of the body completes. Throws if the body ends within one. */
  end(): EventFields[];
}
