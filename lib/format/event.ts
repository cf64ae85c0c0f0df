/**
 * An event: Nest's own `MessageEvent`, with any JSON value as `data`.
 *
 * In a stream that may be Server-Sent Events, an object whose keys are all among these five and that
 * has `data`, `comment` or `retry` is an event; every other value is sent as `data`.
 */
export interface StreamEvent<T = unknown> {
  /** The payload. Strings are sent as they are, binary as base64, everything else as JSON. */
  data?: T;
  /** Becomes the client's `Last-Event-ID`. Neither CR, LF nor NUL may be in it. */
  id?: string;
  /** The name the client listens for. Neither CR nor LF may be in it. Default: `message`. */
  type?: string;
  /** Milliseconds the client waits before it reconnects. */
  retry?: number;
  /** Ignored by clients. */
  comment?: string;
}

const EVENT_KEYS: Readonly<Record<string, true>> = { data: true, id: true, type: true, retry: true, comment: true };

/** Whether a value is an event, and not data that goes into one. */
export function isEvent(value: unknown): value is StreamEvent {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return false;
  }
  for (const key in value) {
    if (EVENT_KEYS[key] !== true) {
      return false;
    }
  }
  const event: StreamEvent = value;
  return event.data !== undefined || event.comment !== undefined || event.retry !== undefined;
}
