import type { HubReset } from '../event/hub-event.js';

/** What a client gets to know of an error: never more than Nest's own exception filter would send. */
export interface StreamErrorBody {
  readonly statusCode: number;
  readonly message: unknown;
  readonly [detail: string]: unknown;
}

/** The encoded form of a chunk. Text is sent as UTF-8. */
export type Encoded = string | Uint8Array;

/**
 * The parts of a format that belong to one stream. They may count, or remember what was sent. Each replaces the part of the format with the same name.
 */
export interface StreamFormatState<T = unknown> {
  /** Replaces {@link StreamFormat.encode}. */
  encode?(value: T): Encoded;
  /** Returns what is sent before the first chunk. Replaces {@link StreamFormat.open}. */
  open?(): Encoded;
  /** Returns what is sent after the last chunk of a stream that ended well. Replaces {@link StreamFormat.close}. */
  close?(): Encoded;
  /** Replaces {@link StreamFormat.error}. */
  error?(body: StreamErrorBody, type: string, error: unknown): Encoded;
}

/**
 * Turns values into bytes. One object serves every stream of an application, so it keeps no state. What stands between chunks is given by the
 * constants `open`, `separator` and `close`. What a single stream has to remember belongs in `perStream`.
 *
 * Make your own with {@link defineFormat}.
 */
export interface StreamFormat {
  /** The name that is used in options, logs and the 406 response. */
  readonly name: string;
  /** The media types that select the format, without parameters. The first is the one it is sent as by default. */
  readonly mediaTypes: readonly string[];
  /** The parameters of the media type in `Content-Type`, such as `charset=utf-8`. Default: none. */
  readonly parameters?: string;
  /** More headers of a response in this format. A header of the same name that the application has set takes precedence. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * The status of a response in this format. `@HttpCode()`, `stream.status()` and a returned `Response` take precedence. Default: the status of
   * the route, as on any Nest route.
   */
  readonly status?: number;
  /**
   * Returns one chunk in its encoded form. An empty string sends nothing. Throws for a value that the format cannot represent.
   * Receives a {@link StreamEvent} if `fields` is set; a chunk that is data is then passed as `{ data }`. Otherwise it receives the data.
   *
   * @param hasIds whether the stream sends ids: some parsers of Server-Sent Events then dispatch an event at every blank line
   */
  encode(value: unknown, hasIds?: boolean): Encoded;
  /** Whether the format can express the fields of an event (`id`, `type`, `retry`, `comment`). Default: `false`. */
  readonly fields?: boolean;
  /**
   * `false`: objects that look like events are data, also on a route with this format alone. Only what `event()` returns is an event.
   * Default: as the option `events` of the route says.
   */
  readonly events?: false;
  /** Is sent before the first chunk. If there is no chunk, it is sent before `close` or the error record. */
  readonly open?: Encoded;
  /** Is sent between two chunks. */
  readonly separator?: string;
  /** Is sent after the last chunk of a stream that ended without an error. */
  readonly close?: Encoded;
  /**
   * Keeps a silent connection alive and means nothing to the client. A function receives whether the stream sends ids; an empty string sends
   * nothing this time. `false` or `undefined`: no heartbeats are sent.
   */
  readonly heartbeat?: string | false | ((hasIds: boolean) => string);
  /**
   * Returns the record that says how many chunks a slow client has missed; for a hub, after which id. Without this function, the number is only logged.
   */
  lagged?(dropped: number, id?: string): Encoded;
  /**
   * Returns the record that says that a client of a hub has missed events. It is called for a format without `fields`: formats with fields send
   * an event of type `reset`. Without both, the client is not informed.
   */
  reset?(reset: HubReset): Encoded;
  /** Returns what makes a client remember an id without an event of the application. Default: nothing is sent. */
  position?(id: string): Encoded;
  /**
   * Returns the record of an error after the first byte. Without this function, the body is only truncated.
   *
   * @param body what the client may know of the error: no more than Nest's own exception filter would send
   * @param type the option `errorEvent` of the route
   * @param error the thrown value. It may hold secrets: send only what is meant for clients
   */
  error?(body: StreamErrorBody, type: string, error: unknown): Encoded;
  /**
   * Whether the body is cut off after the error record, so that no client mistakes it for a complete one. `false`: clients of this format know the
   * record as the end, and the body ends cleanly after it, without `close`. Default: `true`.
   */
  readonly truncate?: boolean;
  /**
   * Returns the state of one stream, for a format that counts, or that has to close what it has opened. It is called for every stream. Each stream
   * is then encoded by itself: clients of a hub do not share their bytes in such a format. Default: none.
   */
  perStream?(): StreamFormatState;
}

/** Returns a format that encodes with the state of one stream. What is sent before and after its chunks is left to the state. */
export function withState(format: StreamFormat, state: StreamFormatState): StreamFormat {
  return {
    ...format,
    ...(state.encode && { encode: state.encode.bind(state) }),
    ...(state.error && { error: state.error.bind(state) }),
  };
}
