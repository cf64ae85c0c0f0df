import type { Source } from '../source/source.js';
import { Pump } from './pump.js';
import { type PushPort, PushReader } from './push-reader.js';

/** What reads a source for a connection. */
export interface Reader {
  /** Starts, or goes on when there is room again. */
  resume(): void;
  /** Stops the source, once, unless it has ended by itself. */
  stop(): void;
}

export function readerOf(source: Source, port: PushPort): Reader {
  return source.kind === 'pull' ? new Pump(source, port) : new PushReader(source, port);
}
