import { type PullSource } from '../../source/source.js';
import { demandStep, type Step } from '../../util/iteration.js';
import { currentTurn, inLaterTurn, SLICE_MS } from '../../util/scheduler.js';
import { isThenable } from '../../util/thenable.js';

/** Reading the clock costs about as much as a small chunk, so it is read once for several. */
const CHUNKS_PER_CLOCK = 8;

/** What the pump needs of the connection it works for. */
export interface PumpPort {
  /** Whether there is room for a chunk. When it comes, {@link Pump.resume} is called. */
  readonly ready: boolean;
  /** Takes a chunk; a promise when the next one has to wait for it. */
  emit(chunk: unknown): void | PromiseLike<unknown>;
  complete(): void;
  fail(error: unknown): void;
  /** Hears of an error that comes when the stream is over already. */
  late(error: unknown): void;
  /** Runs in the context of the request. */
  within<R>(run: () => R): R;
}

/** The only loop: pulls a source while there is room, and hands the event loop over when its time is up. */
export class Pump {
  private chunksToClock = CHUNKS_PER_CLOCK;
  private sliceEnd = 0;
  private turn = 0;
  /** Inside `source.pull()`. */
  private pulling = false;
  /** A step, a hook or the next turn will go on with the loop. */
  private waiting = false;
  private ended = false;
  private stopped = false;

  constructor(
    private readonly source: PullSource,
    private readonly port: PumpPort,
  ) {}

  /** Starts, or goes on when the port is ready again. */
  resume(): void {
    if (!this.waiting && !this.pulling) {
      this.beginSlice();
      this.goOn();
    }
  }

  /** Tells the source to stop, unless it has ended by itself. A pull in progress is not waited for. */
  stop(): void {
    if (!this.stopped) {
      this.stopped = true;
      // A sync generator cannot be told while it runs: run() does it then.
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
          this.goOn();
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
    // The source has really waited: others had their turn meanwhile.
    this.beginSlice();
    return false;
  }

  private beginSlice(): void {
    this.turn = currentTurn();
    this.sliceEnd = performance.now() + SLICE_MS;
  }

  /** The next step. Returns `undefined` when it comes later or not at all. */
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

  /** Passes a step on. Whether to go on with the next at once. */
  private take(step: Step): boolean {
    let chunk: unknown;
    try {
      // Anything may be thrown here: the step is the user's object.
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
      // For a source that was stopped while it was pulled; an asynchronous one has been released before.
      this.release();
      return false;
    }
    if (this.ended) {
      this.port.complete();
      return false;
    }
    return this.emit(chunk);
  }

  /** Hands a chunk over. Whether to go on with the next at once. */
  private emit(chunk: unknown): boolean {
    try {
      const wait = this.port.emit(chunk);
      if (wait !== undefined) {
        this.waiting = true;
        Promise.resolve(wait).then(
          () => this.goOn(),
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

  // Kept, as they are needed once a chunk.
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

  private goOn(): void {
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
