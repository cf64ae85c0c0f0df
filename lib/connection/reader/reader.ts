import type { SharedPort, SharedSource } from '../../source/shared-source.js';
import type { Source } from '../../source/source.js';
import { sourceOf } from '../../source/source-of.js';
import { StreamError } from '../../util/errors.js';
import { markHandled } from '../../util/thenable.js';
import { Pump } from './pump.js';
import { type PushPort, PushReader } from './push-reader.js';

/** Reads a source for a connection. */
export interface Reader {
  /** Starts reading, or continues when there is room again. */
  resume(): void;
  /** Stops the source, once, unless it has ended by itself. */
  stop(): void;
  /** Called when the connection accepts chunks in another form than before. */
  refresh?(): void;
  /** The position of the client, if it is newer than the id of the last event that was sent. */
  readonly position?: string | undefined;
  /** The id of the last event that was sent to the client, if it is known. */
  readonly lastId?: string | undefined;
  /** What the source has written to the socket directly, if it does at present. */
  readonly sent?: SharedSource['sent'];
  /** Called before anything else is written. */
  endDirect?(): void;
  /** Whether the source never ends by itself. */
  readonly endless?: boolean;
}

export function readerOf(source: Source, port: PushPort & SharedPort): Reader {
  switch (source.kind) {
    case 'pull':
      return new Pump(source, port);
    case 'push':
      return new PushReader(source, port);
    case 'shared':
      source.connect(port);
      return source;
  }
}

/**
 * Returns the source for the result of a handler.
 * @throws {StreamError} `invalid-source`, with the route in its message
 */
export function sourceOfRoute(value: unknown, route: string): Source {
  try {
    return sourceOf(value);
  } catch (cause) {
    markHandled(value);
    if (cause instanceof StreamError) {
      throw new StreamError(cause.code, `${route}: ${cause.message}`, { cause });
    }
    throw cause;
  }
}
