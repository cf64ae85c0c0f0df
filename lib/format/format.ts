import type { HubReset } from './hub-event.js';

/** What a client is told of an error. Never more than Nest's own exception filter would tell. */
export interface StreamErrorBody {
  readonly statusCode: number;
  readonly message: unknown;
  readonly [detail: string]: unknown;
}

/**
 * Turns values into bytes. One object serves every stream of an application, so it keeps no state:
 * what stands between chunks is given as the constants `open`, `separator` and `close`.
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
  /**
   * One chunk as it goes on the wire. Throws for what it cannot represent; an empty string sends nothing.
   * Receives a {@link StreamEvent} when `fields` is set, where a chunk that is data comes as `{ data }`. Otherwise the data.
   */
  encode(value: unknown): string | Uint8Array;
  /** Whether the fields of an event (`id`, `type`, `retry`, `comment`) can be said. Default: `false`. */
  readonly fields?: boolean;
  /**
   * `false`: chunks that look like events are data all the same, also on a route of this format alone. Only what `event()` makes is an event.
   * Default: what the route says (its option `events`).
   */
  readonly events?: false;
  /** Sent before the first chunk, or before `close` if there is none. */
  readonly open?: string | Uint8Array;
  /** Sent between two chunks. */
  readonly separator?: string;
  /** Sent after the last chunk of a stream that ended well. */
  readonly close?: string | Uint8Array;
  /** What keeps a silent connection alive without meaning anything to the client. Without it, none is sent. */
  readonly heartbeat?: string;
  /** The record that tells a slow client how many chunks it has missed (of a hub: after that id). Without it, that is only logged. */
  lagged?(dropped: number, id?: string): string | Uint8Array;
  /**
   * The record that tells a client of a hub that it has missed something, in a format without `fields`: with them, it is
   * an event of type `reset`. Without both, the client is not told.
   */
  reset?(reset: HubReset): string | Uint8Array;
  /** What has a client remember an id without an event. Default: nothing. */
  position?(id: string): string | Uint8Array;
  /** The record that tells of an error after the first byte. Without it, the body is only truncated. */
  error?(body: StreamErrorBody, type: string): string | Uint8Array;
}
