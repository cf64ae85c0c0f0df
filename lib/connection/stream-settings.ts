import type { StreamErrorBody } from '../format/format.js';
import type { ChosenFormat } from '../format/negotiate.js';
import type { ResponseHead } from '../transport/response-head.js';
import type { Transport } from '../transport/transport.js';
import type { StreamLogger } from '../util/stream-logger.js';
import type { BodySettings } from './body/body-settings.js';
import type { HookChain } from './hooks.js';
import type { RegistryPort } from './open-stream.js';

/** Everything the streams of a route have in common. Durations in milliseconds; what is off is `Infinity`. */
export interface StreamSettings extends BodySettings {
  readonly openDelay: number;
  /** Whether the route names its format. If not, what its handler returns may be a `Response`, which has a status of its own. */
  readonly namesFormat: boolean;
  readonly heartbeat: number;
  /** Whether the route itself asks for heartbeats: a returned `Response` of Server-Sent Events then has them too. */
  readonly heartbeatOfRoute: boolean;
  readonly sendTimeout: number;
  readonly maxDuration: number;
  /** The names of dropped headers that the log has named already. */
  readonly dropped: Set<string>;
  readonly hooks: HookChain;
  readonly services: StreamServices;
}

/** What the connections of an application share. */
export interface StreamServices {
  readonly registry: RegistryPort;
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
