import { type PullSource, SOURCE, type Source } from '../source/source.js';
import { StreamError } from '../util/errors.js';
import { DONE, type Step } from '../util/iteration.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { SourceIterator } from './source-iterator.js';
import { type Outcome, WorkerRun, type WorkerSetup, warnOf } from './worker-run.js';

/** Reads what a worker produces. The worker is started when the first chunk is read. */
class WorkerSource implements PullSource {
  readonly kind = 'pull';
  private run: WorkerRun | undefined;
  private waiter: Deferred<Step> | undefined;
  private over = false;
  private stopped = false;
  /** Whether the thread has exited. Chunks may be left, but nothing waits for an abort: the signal is read with them. */
  private exited = false;

  constructor(
    private readonly setup: WorkerSetup,
    private readonly signal: AbortSignal | undefined,
  ) {}

  pull(): Step | Promise<Step> {
    if (this.over) {
      return DONE;
    }
    this.run ??= this.start();
    const { run } = this;
    if (this.exited && this.signal?.aborted) {
      this.onAbort();
    }
    const step = this.nextStep(run);
    if (step) {
      return step;
    }
    this.waiter = deferred<Step>();
    return this.waiter.promise;
  }

  /** Stops the producer. Resolves when none of its code runs any more. */
  stop(): Promise<void> | undefined {
    this.over = true;
    this.stopped = true;
    this.waiter?.resolve(DONE);
    this.waiter = undefined;
    this.signal?.removeEventListener('abort', this.onAbort);
    this.run?.abort(this.signal?.aborted ? this.signal.reason : new DOMException('The stream has ended', 'AbortError'));
    return this.run?.exited;
  }

  /** Returns what is there: a chunk, or the end after the last one. */
  private nextStep(run: WorkerRun): Step | undefined {
    return run.inbox.next() ?? (run.outcome && this.end(run.outcome));
  }

  private start(): WorkerRun {
    // It is started once, also if it throws.
    this.over = true;
    this.signal?.throwIfAborted();
    const run = new WorkerRun(this.setup, this.onChange);
    this.over = false;
    this.signal?.addEventListener('abort', this.onAbort, { once: true });
    const onExit = () => {
      this.exited = true;
      this.signal?.removeEventListener('abort', this.onAbort);
    };
    run.exited.then(onExit, (error: unknown) => {
      onExit();
      if (!this.stopped) {
        warnOf(error);
      }
    });
    return run;
  }

  private end(outcome: Outcome): Step {
    this.over = true;
    this.signal?.removeEventListener('abort', this.onAbort);
    if ('error' in outcome) {
      throw outcome.error;
    }
    return DONE;
  }

  private readonly onAbort = (): void => this.run?.abort(this.signal?.reason);

  private readonly onChange = (): void => {
    const { run, waiter } = this;
    if (run && waiter) {
      this.waiter = undefined;
      try {
        const step = this.nextStep(run);
        if (step) {
          waiter.resolve(step);
        } else {
          this.waiter = waiter;
        }
      } catch (error) {
        waiter.reject(error);
      }
    }
  };
}

/** The chunks of a worker, as an async iterable. A route reads its source directly. */
export class WorkerStream implements AsyncIterable<unknown> {
  private taken = false;

  constructor(
    private readonly setup: WorkerSetup,
    private readonly signal: AbortSignal | undefined,
  ) {}

  [Symbol.asyncIterator](): AsyncIterator<unknown, unknown> {
    return new SourceIterator(this.take());
  }

  [SOURCE](): Source {
    return this.take();
  }

  private take(): WorkerSource {
    if (this.taken) {
      throw new StreamError(
        'invalid-source',
        `The chunks of ${this.setup.file.href} were read before: call fromWorker() for every reader. To send them to several clients, publish them to a hub`,
      );
    }
    this.taken = true;
    return new WorkerSource(this.setup, this.signal);
  }
}
