import { type PullSource } from '../../source/source.js';
import { demandStep, type Step } from '../../util/iteration.js';
import { currentTurn, inLaterTurn, SLICE_MS } from '../../util/scheduler.js';
import { isThenable } from '../../util/thenable.js';

/** Reading the clock costs about as much as a small chunk, so it is read once for several. */
const CHUNKS_PER_CLOCK = 8;

/** The interface of a connection to its pump. */
export interface PumpPort {
  /** Whether there is room for a chunk. If not, {@link Pump.resume} is called when there is. */
  readonly ready: boolean;
  /** Takes a chunk. Returns a promise if the next chunk has to wait. */
  emit(chunk: unknown): void | PromiseLike<unknown>;
  complete(): void;
  fail(error: unknown): void;
  /** Called with an error that occurs after the stream has ended. */
  late(error: unknown): void;
  /** Calls a function in the async context of the request. */
  within<R>(run: () => R): R;
}

/** Pulls chunks from a source while there is room, and yields to the event loop when its time slice is over. */
export class Pump {
  private chunksToClock = CHUNKS_PER_CLOCK;
  private sliceEnd = 0;
  private turn = 0;
  /** Whether `source.pull()` is running. */
  private pulling = false;
  /** Whether the loop waits for a step, a hook or the next turn. */
  private waiting = false;
  private ended = false;
  private stopped = false;

  constructor(
    private readonly source: PullSource,
    private readonly port: PumpPort,
  ) {}

  /** Starts the loop, or continues it when the port is ready again. */
  resume(): void {
    if (!this.waiting && !this.pulling) {
      this.beginSlice();
      this.continueLoop();
    }
  }

  /** Stops the source, unless it has ended by itself. Does not wait for a pull in progress. */
  stop(): void {
    if (!this.stopped) {
      this.stopped = true;
      // A sync generator cannot be stopped while it runs. run() stops it after that.
      if (!this.pulling) {
        this.release();
      }
    }
  }

  private run(): void {
    while (!this.stopped && this.port.ready) {
      if (this.sliceIsOver()) {
        this.waiting = true;
        inLaterTurn(() => {
          this.beginSlice();
          this.continueLoop();
        });
        return;
      }
      const step = this.pull();
      if (step === undefined || !this.take(step)) {
        return;
      }
    }
  }

  private sliceIsOver(): boolean {
    if (--this.chunksToClock > 0) {
      return false;
    }
    this.chunksToClock = CHUNKS_PER_CLOCK;
    if (performance.now() <= this.sliceEnd) {
      return false;
    }
    if (this.turn === currentTurn()) {
      return true;
    }
    // The source has waited for another turn of the event loop, in which other streams could run.
    this.beginSlice();
    return false;
  }

  private beginSlice(): void {
    this.turn = currentTurn();
    this.sliceEnd = performance.now() + SLICE_MS;
  }

  /** Returns the next step, or `undefined` if it is pending or failed. */
  private pull(): Step | undefined {
    let step: Step | PromiseLike<Step>;
    this.pulling = true;
    try {
      step = this.source.pull();
      demandStep(step);
      if ('then' in step) {
        this.waiting = true;
        Promise.resolve(step).then(this.onStep, this.onSourceError);
      }
    } catch (error) {
      this.onSourceError(error);
      return undefined;
    } finally {
      this.pulling = false;
    }
    if (this.waiting) {
      if (this.stopped) {
        this.release();
      }
      return undefined;
    }
    return step as Step;
  }

  /** Handles a step. Returns whether to pull the next step now. */
  private take(step: Step): boolean {
    let chunk: unknown;
    try {
      // The step is an object of the user, whose getters may throw.
      if (step.done) {
        this.ended = true;
      } else {
        chunk = step.value;
      }
    } catch (error) {
      this.onSourceError(error);
      return false;
    }
    if (this.stopped) {
      // The source was stopped during pull(). An asynchronous source was released before.
      this.release();
      return false;
    }
    if (this.ended) {
      this.port.complete();
      return false;
    }
    return this.emit(chunk);
  }

  /** Passes a chunk on. Returns whether to pull the next step now. */
  private emit(chunk: unknown): boolean {
    try {
      const wait = this.port.emit(chunk);
      if (wait !== undefined) {
        this.waiting = true;
        Promise.resolve(wait).then(
          () => this.continueLoop(),
          (error: unknown) => this.onError(error),
        );
      }
      return wait === undefined;
    } catch (error) {
      this.onError(error);
      return false;
    }
  }

  private release(): void {
    if (this.ended) {
      return;
    }
    this.ended = true;
    try {
      const wait = this.port.within(() => this.source.stop());
      if (isThenable(wait)) {
        Promise.resolve(wait).then(undefined, (error: unknown) => this.port.late(error));
      }
    } catch (error) {
      this.port.late(error);
    }
  }

  // A property, since it is needed once for each chunk.
  private readonly onStep = (step: Step): void => {
    this.waiting = false;
    try {
      demandStep(step);
    } catch (error) {
      this.onSourceError(error);
      return;
    }
    if (this.take(step)) {
      this.run();
    }
  };

  private continueLoop(): void {
    this.waiting = false;
    if (!this.stopped) {
      this.port.within(() => this.run());
    }
  }

  private readonly onSourceError = (error: unknown): void => {
    this.ended = true;
    this.onError(error);
  };

  private onError(error: unknown): void {
    this.waiting = false;
    if (this.stopped) {
      this.port.late(error);
    } else {
      this.port.fail(error);
    }
  }
}
