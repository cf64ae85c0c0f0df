import type { HubReset } from '../event/hub-event.js';

/** What a client is told of an error. Never more than Nest's own exception filter would tell. */
export interface StreamErrorBody {
  readonly statusCode: number;
  readonly message: unknown;
  readonly [detail: string]: unknown;
}

/** What a format writes: text is sent as UTF-8. */
export type Encoded = string | Uint8Array;

/** The parts of a format that belong to one stream: they may count, or remember what was sent. Each replaces the one of the format. */
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
 * Turns values into bytes. One object serves every stream of an application, so it keeps no state. What stands between chunks is given
 * as the constants `open`, `separator` and `close`; what a single stream has to remember belongs into `perStream`.
 *
 * Make your own with {@link defineFormat}.
 */
export interface StreamFormat {
  /** The name used in options, logs and the 406 answer. */
  readonly name: string;
  /** The media types it answers to, without parameters. The first is the one it is sent as by default. */
  readonly mediaTypes: readonly string[];
  /** Appended to the media type in `Content-Type`, e.g. `charset=utf-8`. Default: none. */
  readonly parameters?: string;
  /** More headers of a response in this format. A header of the same name that the application has set wins. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * The status of a response in this format. `@HttpCode()`, `stream.status()` and a returned `Response` win. Default: that of the route,
   * as on any Nest route.
   */
  readonly status?: number;
  /**
   * Returns one chunk as it goes on the wire. Throws for what it cannot represent; an empty string sends nothing.
   * Receives a {@link StreamEvent} when `fields` is set, where a chunk that is data comes as `{ data }`. Otherwise the data.
   *
   * @param hasIds whether the stream sends ids: some parsers of Server-Sent Events then dispatch an event at every blank line
   */
  encode(value: unknown, hasIds?: boolean): Encoded;
  /** Whether the fields of an event (`id`, `type`, `retry`, `comment`) can be said. Default: `false`. */
  readonly fields?: boolean;
  /**
   * `false`: chunks that look like events are data all the same, also on a route of this format alone. Only what `event()` makes is an event.
   * Default: what the route says (its option `events`).
   */
  readonly events?: false;
  /** Sent before the first chunk, or before `close` or the error record if there is none. */
  readonly open?: Encoded;
  /** Sent between two chunks. */
  readonly separator?: string;
  /** Sent after the last chunk of a stream that ended well. */
  readonly close?: Encoded;
  /**
   * What keeps a silent connection alive and means nothing to the client. A function is told whether the stream sends ids; an empty
   * string sends nothing this time. `false`, or absent: none is sent.
   */
  readonly heartbeat?: string | false | ((hasIds: boolean) => string);
  /** The record that tells a slow client how many chunks it has missed (of a hub: after that id). Without it, that is only logged. */
  lagged?(dropped: number, id?: string): Encoded;
  /**
   * The record that tells a client of a hub that it has missed something, in a format without `fields`: with them, it is
   * an event of type `reset`. Without both, the client is not told.
   */
  reset?(reset: HubReset): Encoded;
  /** What has a client remember an id without an event of yours. Default: nothing. */
  position?(id: string): Encoded;
  /**
   * The record that tells of an error after the first byte. Without it, the body is only truncated.
   *
   * @param body what the client may know of the error: no more than Nest's own exception filter would answer
   * @param type the option `errorEvent` of the route
   * @param error what was thrown. It may hold secrets: send only what is meant for clients
   */
  error?(body: StreamErrorBody, type: string, error: unknown): Encoded;
  /**
   * Whether the body is cut off after the error record, so that no client takes it for whole. `false`: clients of this format know the
   * record as the end, and the body ends cleanly after it, without `close`. Default: `true`.
   */
  readonly truncate?: boolean;
  /**
   * Makes the state of one stream, for a format that counts or has to close what it has opened. Called for every stream, which is then
   * encoded by itself: clients of a hub do not share their bytes in such a format. Default: none.
   */
  perStream?(): StreamFormatState;
}

/** A format that encodes with the state of one stream. What stands before and after its chunks is left to the state. */
export function withState(format: StreamFormat, state: StreamFormatState): StreamFormat {
  return {
    ...format,
    ...(state.encode && { encode: state.encode.bind(state) }),
    ...(state.error && { error: state.error.bind(state) }),
  };
}
