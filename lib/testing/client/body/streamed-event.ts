import { isDeepStrictEqual } from 'node:util';

/**
 * One event or chunk of a stream under test, in the same shape whatever the format. It has the fields that came, and no others:
 * `deepStrictEqual(await stream.next(), { data: { eur: 4 }, id: '7' })`.
 */
export interface StreamedEvent<T = unknown> {
  /**
   * SSE: the value if the data is JSON, else the text (always that with `json: false`). NDJSON, JSON text sequences and JSON arrays: the
   * value. Other text: a chunk as it came over the network. Everything else: such a chunk as a `Buffer`. Absent only with `all: true`, where
   * nothing but other fields came.
   */
  readonly data: T;
  /** SSE: the `id` field. */
  readonly id?: string;
  /** SSE: the `event` field. */
  readonly type?: string;
  /** SSE: the `retry` field, in milliseconds. */
  readonly retry?: number;
  /** SSE: what comes after the colon. Empty for a heartbeat; with `all: true` in NDJSON too. */
  readonly comment?: string;
}

/**
 * How a stream under test ended: `complete`, `truncated` (the connection broke off before the end of the body, as after an error), or
 * `disconnected` (by the test).
 */
export type StreamEnd = 'complete' | 'truncated' | 'disconnected';

/** Whether an event is one of a hub, or of the end of the server, that says nothing to an application: a position or a time to wait. */
export function isOwnNotice({ type, id, retry, data }: EventFields): boolean {
  const says = type === 'position' ? id : type === 'shutdown' ? retry : undefined;
  return says !== undefined && (data === '{}' || isDeepStrictEqual(data, {}));
}

/** The fields that came, whichever they are. */
export type EventFields = Partial<StreamedEvent>;

/** Reads the events out of the text of a body. */
export interface TextReader {
  read(text: string): EventFields[];
  /** Returns the events that the end of the body completes. Throws if the body ends within one. */
  end(): EventFields[];
}
