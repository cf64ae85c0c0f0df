import type { EventsMode } from '../event/event.js';
import type { StreamErrorBody } from '../format/format.js';
import type { ChosenFormat, FormatOfChunk } from '../format/negotiate.js';
import type { ResponseHead } from '../transport/response-head.js';
import type { Transport } from '../transport/transport.js';
import type { OverflowPolicy, QueueLimits } from '../util/queue-limits.js';
import type { StreamLogger } from '../util/stream-logger.js';
import type { HookChain } from './hooks.js';
import type { StreamRegistry } from './registry/stream-registry.js';

/** When gathered chunks leave. */
export type FlushPolicy = 'auto' | 'each' | { readonly bytes: number; readonly ms: number };

/** Everything the streams of a route have in common. Durations in milliseconds; what is off is `Infinity`. */
export interface StreamSettings {
  /** `Class.method` */
  readonly route: string;
  readonly flush: FlushPolicy;
  readonly openDelay: number;
  /** Whether the route names its format. If not, what its handler returns may be a `Response`, which has a status of its own. */
  readonly namesFormat: boolean;
  /** Picks the format of a stream in which the first chunk decides. */
  readonly formatOfChunk: FormatOfChunk;
  readonly heartbeat: number;
  /** Whether the route itself asks for heartbeats: a returned `Response` of Server-Sent Events then has them too. */
  readonly heartbeatOfRoute: boolean;
  readonly sendTimeout: number;
  readonly maxDuration: number;
  readonly queue: QueueLimits;
  readonly overflow: OverflowPolicy;
  readonly errorEvent: string;
  /** The names of dropped headers that the log has named already. */
  readonly dropped: Set<string>;
  /** Which chunks are events. */
  readonly events: EventsMode;
  readonly hooks: HookChain;
  readonly services: StreamServices;
}

/** What the connections of an application share. */
export interface StreamServices {
  readonly registry: StreamRegistry;
  readonly logger: StreamLogger;
  /** What an exception filter is given when a stream is ended that has sent nothing. */
  refusal(message: string): unknown;
  /** When a client that is refused while the application closes is to come back, in milliseconds. Differs each time. */
  retryDelay(): number | undefined;
  /** What a client may know of an error. */
  describeError(error: unknown): StreamErrorBody;
}

/** The place of a stream in the counts of the limits. */
export interface Admission {
  leave(): void;
}

/** What a connection is made of. Only its first phase keeps them all. */
export interface StreamParts {
  readonly id: number;
  readonly request: unknown;
  readonly transport: Transport;
  readonly head: ResponseHead;
  readonly settings: StreamSettings;
  /** The format, or nothing when the first chunk decides. */
  readonly chosen: ChosenFormat | undefined;
  readonly lastEventId: string | undefined;
  /** Whether it is opened in the address bar of a browser, which is to show it and not to save it. */
  readonly shown?: boolean;
  /** Whether the client is an `EventSource` that may be refused with 200 and `retry`: it gives up for good on any other status. */
  readonly reconnects?: boolean;
  /** How the bytes of a web `Response` are sent. Default: as they are. */
  readonly passthrough?: ChosenFormat;
}
