import type { StreamErrorBody } from '../format/format.js';
import type { ChosenFormat } from '../format/negotiate.js';
import type { ResponseHead } from '../transport/response-head.js';
import type { Transport } from '../transport/transport.js';
import type { StreamCloseCode } from '../util/errors.js';
import type { StreamLogger } from '../util/stream-logger.js';
import type { AccessCheck } from './access-check.js';
import type { BodySettings } from './body/body-settings.js';
import type { HookChain } from './hooks.js';
import type { RegistryPort } from './open-stream.js';

/** The settings that all streams of a route share. Durations are in milliseconds. A duration that is turned off is `Infinity`. */
export interface StreamSettings extends BodySettings {
  readonly openDelay: number;
  /** Whether the route has the option `format`. If not, its handler may return a `Response` with its own status. */
  readonly namesFormat: boolean;
  readonly heartbeat: number;
  /** Whether the route itself sets `heartbeat`. A returned `Response` of Server-Sent Events then has heartbeats too. */
  readonly heartbeatOfRoute: boolean;
  readonly sendTimeout: number;
  readonly maxDuration: number;
  /** Checks again whether the client of a stream may still read it. `undefined`: it is not checked. */
  readonly accessCheck: AccessCheck | undefined;
  /** The names of dropped headers for which a warning was logged already. */
  readonly dropped: Set<string>;
  readonly hooks: HookChain;
  readonly services: StreamServices;
}

/** The objects that all streams of an application share. */
export interface StreamServices {
  readonly registry: RegistryPort;
  readonly logger: StreamLogger;
  /** Returns the error for exception filters when the server closes a stream that has sent nothing, and for the error record of one whose client may not read it any more. */
  refusal(code: StreamCloseCode): unknown;
  /** Returns the time after which a client should reconnect that is refused while the application closes, in milliseconds. It is random. */
  retryDelay(): number | undefined;
  /** Returns the description of an error for clients. */
  describeError(error: unknown): StreamErrorBody;
}

/** Counts a stream against limits until it is left. */
export interface Admission {
  /** @param carrier the socket or the HTTP/2 session of the stream */
  leave(carrier: object): void;
}

/** The parts of a new stream. Only its first phase keeps all of them. */
export interface StreamParts {
  readonly id: number;
  readonly request: unknown;
  readonly transport: Transport;
  readonly head: ResponseHead;
  readonly settings: StreamSettings;
  /** The format, or `undefined` if the first chunk decides. */
  readonly chosen: ChosenFormat | undefined;
  readonly lastEventId: string | undefined;
  /** Whether a browser navigates to the stream, which should be shown instead of saved to a file. */
  readonly shown?: boolean;
  /** Whether the client is an `EventSource` that may be refused with 200 and `retry`. It does not reconnect after any other status. */
  readonly reconnects?: boolean;
  /** The format for the body of a web `Response`. Default: its bytes are sent unchanged. */
  readonly passthrough?: ChosenFormat;
}
