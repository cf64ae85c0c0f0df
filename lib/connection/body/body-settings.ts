import type { EventsMode } from '../../event/event.js';
import type { FormatOfChunk } from '../../format/negotiate.js';
import type { FlushPolicy } from '../../util/flush-policy.js';
import type { OverflowPolicy, QueueLimits } from '../../util/queue-limits.js';
import type { StreamLogger } from '../../util/stream-logger.js';

/** The settings of a route that bodies need. */
export interface BodySettings {
  /** `Class.method` */
  readonly route: string;
  readonly flush: FlushPolicy;
  /** Which chunks are events. */
  readonly events: EventsMode;
  /** Chooses the format of a stream by its first chunk. */
  readonly formatOfChunk: FormatOfChunk;
  readonly queue: QueueLimits;
  readonly overflow: OverflowPolicy;
  readonly errorEvent: string;
  readonly services: {
    readonly registry: { readonly clock: { now(): number } };
    readonly logger: StreamLogger;
  };
}
