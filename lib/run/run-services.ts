import type { StreamErrorBody } from '../format/format.js';
import type { RunInfo } from './run.options.js';

/** What the runs of an application need from it. */
export interface RunServices {
  /** Returns what clients are sent about an error. */
  describeError(error: unknown): StreamErrorBody;
  /** Returns an error to which Nest's exception filter responds with this body. */
  errorOf(body: StreamErrorBody): unknown;
  warn(message: string, error?: unknown): void;
  /** Returns what is notified about runs. */
  observer?(): RunObserver | undefined;
}

/** Is notified about the runs of this process. Its methods must not throw. */
export interface RunObserver {
  /**
   * Called before the first record of a run is written, in the async context of the request.
   * @param runs the name of the runs, or for the run of a route `Class.method`
   * @returns the trace context of the run, to which its viewers link in any process
   */
  runStarts(runs: string): string | undefined;
  /** Called if another call was faster, so that the run is not started. */
  runDropped(trace: string): void;
  /** Called when a run has begun, before its producer is called. */
  runBegan(runs: string): void;
  /** Called when a run is over. */
  runOver(runs: string, info: RunInfo, trace: string | undefined): void;
}
