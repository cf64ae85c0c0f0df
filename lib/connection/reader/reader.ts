import type { SharedPort } from '../../source/shared-source.js';
import type { Source } from '../../source/source.js';
import { sourceOf } from '../../source/source-of.js';
import { StreamError } from '../../util/errors.js';
import { shelter } from '../../util/thenable.js';
import { Pump } from './pump.js';
import { type PushPort, PushReader } from './push-reader.js';

/** Reads a source for a connection. */
export interface Reader {
  /** Starts, or goes on when there is room again. */
  resume(): void;
  /** Stops the source, once, unless it has ended by itself. */
  stop(): void;
  /** What the connection can take has changed. */
  refresh?(): void;
  /** The id its client is at, if no event that was sent tells it. */
  readonly position?: string | undefined;
  /** The id of the last event its client was given, where it can be told. */
  readonly lastId?: string | undefined;
  /** Whether it never ends by itself. */
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
 * Returns the source of what a handler returned.
 * @throws {StreamError} with the route in its message
 */
export function sourceOfRoute(value: unknown, route: string): Source {
  try {
    return sourceOf(value);
  } catch (cause) {
    shelter(value);
    if (cause instanceof StreamError) {
      throw new StreamError(cause.code, `${route}: ${cause.message}`, { cause });
    }
    throw cause;
  }
}
