import type { HubReset } from '../event/hub-event.js';
import type { StreamCloseCode } from '../util/errors.js';
import type { FlushPolicy } from '../util/flush-policy.js';

/** The body of an error response or an error record. It exposes no more than Nest's own exception filter would send. */
export interface StreamErrorBody {
  /** The HTTP status that an exception filter would respond with. */
  readonly statusCode: number;
  /** The message of the error: a string, or a list of strings, as from `ValidationPipe`. `Internal server error` if the error is not an `HttpException`. */
  readonly message: unknown;
  readonly [detail: string]: unknown;
}

/** The encoded form of a chunk. Text is sent as UTF-8. */
export type Encoded = string | Uint8Array;

/**
 * The parts of a format that belong to one stream, such as a counter. Each part replaces the part of the format with the same name.
 */
export interface StreamFormatState<T = unknown> {
  /** Replaces {@link StreamFormat.encode}. */
  encode?(value: T): Encoded;
  /** Returns the bytes or text to send before the first chunk. Replaces {@link StreamFormat.open}. */
  open?(): Encoded;
  /**
   * Returns the bytes or text to send after the last chunk of a stream that ended without an error. Replaces {@link StreamFormat.close}.
   *
   * @param code `completed` if the source has ended or `close()` was called. Otherwise the server stops the stream, and the chunks may be
   * incomplete: `server-closed`, `shutdown` or `deadline`
   */
  close?(code: StreamCloseCode): Encoded;
  /** Replaces {@link StreamFormat.error}. */
  error?(body: StreamErrorBody, type: string, error: unknown): Encoded;
}

/**
 * Encodes chunks as bytes or text. One object serves all streams of an application, so it has no state: state of a single stream belongs in
 * `perStream`. The constants `open`, `separator` and `close` are sent before, between and after the chunks.
 *
 * Define your own with {@link defineFormat}.
 */
export interface StreamFormat {
  /** The name that is used in options, logs and the 406 response. */
  readonly name: string;
  /** The media types that select the format, without parameters. The first one is the default for `Content-Type`. */
  readonly mediaTypes: readonly string[];
  /** The parameters of the media type in `Content-Type`, such as `charset=utf-8`. Default: none. */
  readonly parameters?: string;
  /** Additional headers of a response in this format. A header of the same name that the application has set takes precedence. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * The status of a response in this format. `@HttpCode()`, `stream.status()` and a returned `Response` take precedence. Default: the status of
   * the route, as on any Nest route.
   */
  readonly status?: number;
  /**
   * Encodes one chunk. An empty string sends nothing. Throws for a value that the format cannot represent.
   * If `fields` is set, `value` is a {@link StreamEvent}: a chunk that is data is passed as `{ data }`. Otherwise `value` is the data.
   *
   * @param hasIds whether the stream has sent an id or a `retry`: some parsers of Server-Sent Events then dispatch an event at a blank line
   */
  encode(value: unknown, hasIds?: boolean): Encoded;
  /** Whether the format can express the fields of an event (`id`, `type`, `retry`, `comment`). Default: `false`. */
  readonly fields?: boolean;
  /**
   * `false`: on every route, objects that look like events are data. Only objects that `event()` returns are events.
   * Default: the option `events` of the route decides.
   */
  readonly events?: false;
  /** Sent before the first chunk. If there is no chunk, it is sent before `close` or the error record. */
  readonly open?: Encoded;
  /** Sent between two chunks. */
  readonly separator?: string;
  /** Sent after the last chunk of a stream that ended without an error. */
  readonly close?: Encoded;
  /**
   * Text that clients ignore, sent to keep a silent connection alive. A function receives whether the stream has sent an id or a `retry`; if
   * it returns an empty string, nothing is sent this time. `false` or `undefined`: no heartbeats are sent.
   */
  readonly heartbeat?: string | false | ((hasIds: boolean) => string);
  /**
   * Returns the record that reports how many chunks a slow client has missed. Without this function, the number is only logged.
   *
   * @param dropped the number of missed chunks
   * @param id on a stream of a hub: the id of the event before the missed ones
   */
  lagged?(dropped: number, id?: string): Encoded;
  /**
   * Returns the record that reports that a client of a hub has missed events. It is only called for a format without `fields`: a format with
   * fields sends an event of type `reset`. Without `fields` and this function, the client is not informed.
   */
  reset?(reset: HubReset): Encoded;
  /** Returns a record that carries only an id, which clients remember as their position. Default: nothing is sent. */
  position?(id: string): Encoded;
  /**
   * Returns the record of an error that happened after the head was sent. Without this function, the body is only cut off.
   *
   * @param body the description of the error for clients: no more than Nest's own exception filter would send
   * @param type the option `errorEvent` of the route
   * @param error the thrown value. It may contain secrets: send only what is meant for clients
   */
  error?(body: StreamErrorBody, type: string, error: unknown): Encoded;
  /**
   * Whether the body is cut off after the error record, so that no client mistakes it for a complete one. `false`: clients of this format
   * recognize the record as the end, and the body ends cleanly after it, without `close`. Default: `true`.
   */
  readonly truncate?: boolean;
  /**
   * When chunks are sent, if neither the route nor the application sets `flush`. The values are those of that option. Default: `auto`.
   */
  readonly flush?: FlushPolicy;
  /**
   * The format of WebSocket messages in place of this one, for formats that frame their records for a body: a message needs no frame. Each
   * result of its `encode`, `close` and `error` is one message. Default: this format.
   */
  readonly messages?: StreamFormat;
  /**
   * Returns the state of one stream, for example to number its chunks. It is called for every stream. Chunks are then encoded for each stream
   * separately: the clients of a hub do not share bytes in such a format. Default: none.
   */
  perStream?(): StreamFormatState;
}

/** Returns a format that encodes with the state of one stream. `open` and `close` of the state have to be called separately. */
export function withState(format: StreamFormat, state: StreamFormatState): StreamFormat {
  return {
    ...format,
    ...(state.encode && { encode: state.encode.bind(state) }),
    ...(state.error && { error: state.error.bind(state) }),
  };
}
