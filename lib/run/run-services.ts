import type { StreamErrorBody } from '../format/format.js';
import type { RunInfo } from './run.options.js';

/** What the runs of an application need from it. */
export interface RunServices {
  /** Returns what clients are sent about an error. */
  describeError(error: unknown): StreamErrorBody;
  /** Returns an error to which Nest's exception filter responds with this body. */
  errorOf(body: StreamErrorBody): unknown;
  warn(message: string, error?: unknown): void;
  /** Called when a run of this process has begun, before its producer is called. */
  onStart?(runs: string, info: RunInfo): void;
  /** Called when a run of this process is over. */
  onEnd?(runs: string, info: RunInfo): void;
}
