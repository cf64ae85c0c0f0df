import type { Broker } from '../broker/broker.js';

/**
 * What becomes of a run when its last viewer leaves. Viewers of all processes count. A run that nobody has viewed yet goes on.
 * - `cancel`: its signal is aborted
 * - `detach`: it goes on
 * - `{ detach: ms }`: its signal is aborted that number of milliseconds later, unless a viewer comes back before
 */
export type RunDisconnect = 'cancel' | 'detach' | { readonly detach: number };

/** Limits of runs. */
export interface RunLimits {
  /** The maximum number of runs that one process produces at the same time. `start()` over this limit throws, with the status 503. Default: 1000. */
  readonly running?: number;
  /** The maximum number of runs of one `owner` at the same time, in all processes. `start()` over this limit throws, with the status 429. Default: no limit. */
  readonly perOwner?: number;
  /** The maximum number of bytes that one run may produce, as they are stored. A run over this limit fails with the code `too-large`. Default: 8 388 608. */
  readonly bytes?: number;
  /** The maximum number of chunks that one run may produce. A run over this limit fails with the code `too-large`. Default: 100 000. */
  readonly items?: number;
}

/** Options for runs without a name: those of `forRoot({ runs })`. Durations are in milliseconds, and at most 2 147 483 647 (24.8 days). */
export interface RunBehavior<T = unknown> {
  /** What becomes of a run when its last viewer leaves. Default: `cancel`. */
  readonly onDisconnect?: RunDisconnect;
  /** How long a run that is over can still be read. Default: 600 000. */
  readonly keep?: number;
  /** The maximum duration of a run. Its signal is then aborted with the code `deadline`. `false`: no limit. Default: 900 000. */
  readonly maxDuration?: number | false;
  /** Limits for the number and the size of runs. */
  readonly limits?: RunLimits;
  /**
   * How long a process may not renew its lease before its runs count as lost: it has crashed, or cannot reach the broker. A process renews it three times in this
   * time. Default: 15 000.
   */
  readonly lease?: number;
  /**
   * Joins chunks for those who read a run from its log, such as the deltas of a text, so that they receive fewer chunks. Called with two
   * neighbours, of which the first may be the result of an earlier call. Returns one chunk in their place, both of them, or none. Default: all chunks are sent as they are.
   */
  compact?(chunks: readonly T[]): readonly T[];
  /** Stores the logs. Default: the `broker` of `StreamingModule.forRoot()`. It has to implement {@link BrokerRuns}. */
  readonly broker?: Broker;
}

/** Options of `StreamingModule.registerRuns()`. */
export interface RunsOptions<T = unknown> extends RunBehavior<T> {
  /** The name for `@InjectRuns()`, and of the logs in the broker: 1 to 128 characters, without control characters and `/`, and not `~` as the first. */
  readonly name: string;
}

/** What every call for a run may contain. */
export interface RunAccess {
  /**
   * The owner of the run, such as the id of the signed-in user. `start()` stores it. For the other methods, a run of another owner does not exist. Without the
   * option, the owner is not compared. The value `undefined` is refused, as it would open the runs of everybody if a user is missing by mistake.
   */
  readonly owner?: string;
}

/** Options of `runs.start()`. */
export interface StartOptions extends RunAccess {
  /**
   * What happens if a run with this id is in progress, on any process.
   * - `join` (default): the result is a view of that run, from its start
   * - `reject`: `start()` throws, with the status 409
   * - `replace`: that run is stopped, and a new one is started
   */
  readonly onConflict?: 'join' | 'reject' | 'replace';
  /**
   * What happens if a run with this id is over, and still kept.
   * - `restart` (default): a new run is started in its place
   * - `replay`: the result is a view of that run. A request that a client repeats then produces nothing twice
   */
  readonly ended?: 'restart' | 'replay';
}

/** Options of `runs.join()`. */
export interface JoinOptions extends RunAccess {
  /** The id of the last chunk that the client has received, as from `@LastEventId()`. Default, also for an empty string: see `from`. */
  readonly after?: string;
  /** Where a client without `after` begins. `start` (default): with the first chunk. `now`: with the next one. */
  readonly from?: 'start' | 'now';
  /** Whether a run that is over is replayed. `none`: the response is that of `orElse`. Default: `replay`. */
  readonly ended?: 'replay' | 'none';
  /** The status of the response if there is no such run. `204` (default): without a body. `404`: `join()` throws. */
  readonly orElse?: 204 | 404;
}

/**
 * - `running`: the producer produces
 * - `completed`: the producer has ended
 * - `failed`: the producer has thrown, or the run was larger than its limits
 * - `stopped`: the run was stopped: see `reason` of {@link RunInfo}
 * - `lost`: its process has crashed, or could not reach the broker
 */
export type RunStatus = 'running' | 'completed' | 'failed' | 'stopped' | 'lost';

/**
 * Why a run was stopped: `stopped` by `stop()`, `client-closed` as its last viewer has left, `deadline` after `maxDuration`, `shutdown` of its process, or
 * `replaced` by a new run with the same id.
 */
export type RunStopReason = 'stopped' | 'client-closed' | 'deadline' | 'shutdown' | 'replaced';

/** The state of a run. For a run of another process, the figures are up to a third of `lease` old. */
export interface RunInfo {
  readonly id: string;
  readonly status: RunStatus;
  /** Why it was stopped. Only with the status `stopped`. */
  readonly reason?: RunStopReason;
  /** The owner that `start()` was called with. */
  readonly owner?: string;
  /** When it was started, in milliseconds since 1970. */
  readonly startedAt: number;
  /** When it ended, in milliseconds since 1970. */
  readonly endedAt?: number;
  /** The number of chunks that are in its log. */
  readonly items: number;
  /** The number of bytes of these chunks, as they are stored. */
  readonly bytes: number;
  /** The number of its viewers in all processes. */
  readonly viewers: number;
  /** Identifies the process that produces or has produced it. */
  readonly node: string;
}

/** What the producer of a run receives. */
export interface Run {
  /** The id that `start()` was called with. */
  readonly id: string;
  /** Aborted when the run has to end. Its reason is a {@link StreamCloseError} with the code `stopped`, `client-closed`, `deadline`, `shutdown` or `error`. */
  readonly signal: AbortSignal;
  /** The number of viewers in all processes, as far as this process knows. */
  readonly viewers: number;
}

const RUN_DEFAULTS = {
  onDisconnect: 'cancel',
  keep: 600_000,
  maxDuration: 900_000,
  limits: { running: 1_000, perOwner: Infinity, bytes: 8 * 1024 * 1024, items: 100_000 },
  lease: 15_000,
} as const satisfies RunBehavior;

/** The options with their defaults. */
export interface RunSettings {
  readonly name: string;
  readonly onDisconnect: RunDisconnect;
  readonly keep: number;
  readonly maxDuration: number;
  readonly limits: Required<RunLimits>;
  readonly lease: number;
  readonly compact: ((chunks: readonly unknown[]) => readonly unknown[]) | undefined;
  /** Which chunks are events. */
  readonly events: 'shape' | 'explicit';
}

/** The settings that may differ for one run. */
export type SettingsOfRun = Pick<RunSettings, 'onDisconnect' | 'events'>;

/** Returns the options with their defaults. */
export function completeRunsOptions(options: RunsOptions): RunSettings {
  const { name, onDisconnect, keep, maxDuration, limits, lease, compact } = options;
  const { limits: byDefault, ...defaults } = RUN_DEFAULTS;
  return {
    name,
    onDisconnect: onDisconnect ?? defaults.onDisconnect,
    keep: keep ?? defaults.keep,
    maxDuration: maxDuration === false ? Infinity : (maxDuration ?? defaults.maxDuration),
    limits: {
      running: limits?.running ?? byDefault.running,
      perOwner: limits?.perOwner ?? byDefault.perOwner,
      bytes: limits?.bytes ?? byDefault.bytes,
      items: limits?.items ?? byDefault.items,
    },
    lease: lease ?? defaults.lease,
    compact: compact?.bind(options),
    events: 'explicit',
  };
}
