import { AsyncResource } from 'node:async_hooks';
import { eventIn, type StreamEvent } from '../event/event.js';
import { entryOf } from '../hub/entry.js';
import { isFlushMark } from '../source/flush.js';
import { type PullSource, type PushSource, SOURCE } from '../source/source.js';
import { sourceOf } from '../source/source-of.js';
import { StreamCloseError, StreamError } from '../util/errors.js';
import { demandStep, type Step } from '../util/iteration.js';
import { isThenable, markHandled, onRejection } from '../util/thenable.js';
import type { Run, RunSettings, RunStopReason } from './run.options.js';
import { abortReason } from './run-errors.js';
import { type RunGatherer, sizeOf } from './run-gatherer.js';

/** How a producer has ended. */
export type Outcome =
  | { readonly status: 'completed' }
  | { readonly status: 'failed'; readonly error: unknown }
  | { readonly status: 'stopped'; readonly reason: RunStopReason };

/** What the producer of a run receives, and what reads the producer. */
export interface ProducerParts {
  readonly id: string;
  readonly gatherer: RunGatherer;
  readonly settings: Pick<RunSettings, 'limits' | 'events'>;
  /** The number of viewers in all processes. */
  viewers(): number;
  /** Called once, when nothing more is produced. */
  onEnd(outcome: Outcome): void;
  /** Called with an error that occurs after the end. */
  onLate(error: unknown): void;
}

/** Calls the producer of a run, and passes on what it produces, at the pace of the log. */
export class RunProducer implements Run {
  private readonly controller = new AbortController();
  /** The async context in which the run was started. Its signal is aborted in it, and its source stopped. */
  private readonly scope = new AsyncResource('Run');
  private source: PullSource | PushSource | undefined;
  private ended = false;

  constructor(private readonly parts: ProducerParts) {}

  get id(): string {
    return this.parts.id;
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get viewers(): number {
    return this.parts.viewers();
  }

  /** Starts to produce. Never rejects. */
  async run(produce: (run: Run) => unknown): Promise<void> {
    // It may have been stopped before it could start.
    if (!this.ended) {
      await this.read(() => produce(this));
    }
  }

  /** Stops the producer. Does not wait for it: what it produces after that is ignored. */
  stop(reason: RunStopReason): void {
    this.end({ status: 'stopped', reason }, abortReason(reason));
  }

  /** Ends the producer without an outcome: the run has ended elsewhere. */
  abandon(error: StreamError): void {
    if (!this.ended) {
      this.ended = true;
      this.halt(new StreamCloseError('error', error.message, { cause: error }));
    }
  }

  private async read(produce: () => unknown): Promise<void> {
    try {
      const source = sourceOfRun(await produce());
      if (this.ended) {
        this.release(source);
        return;
      }
      this.source = source;
      if (source.kind === 'push') {
        this.listen(source);
      } else {
        await this.pump(source);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  private async pump(source: PullSource): Promise<void> {
    for (;;) {
      let step: Step | PromiseLike<Step> = source.pull();
      step = isThenable(step) ? await step : step;
      demandStep(step);
      if (step.done) {
        this.source = undefined;
        this.end({ status: 'completed' });
        return;
      }
      const wait = this.take(isThenable(step.value) ? await step.value : step.value);
      if (wait) {
        await wait;
      }
      if (this.ended) {
        return;
      }
    }
  }

  private listen(source: PushSource): void {
    source.start({
      next: (chunk) => this.attempt(() => this.receive(chunk)),
      error: (error) => {
        this.source = undefined;
        this.fail(error);
      },
      complete: () => {
        this.source = undefined;
        this.end({ status: 'completed' });
      },
      detach: (next) => {
        this.source = undefined;
        void this.read(() => next);
      },
    });
  }

  /** Takes a chunk of a source that cannot be paced. What waits is limited by the size of the run. */
  private receive(chunk: unknown): void {
    if (isThenable(chunk)) {
      // Nobody waits for it: its rejection would end the process.
      markHandled(chunk);
      throw promiseOfPush();
    }
    void this.take(chunk);
  }

  /** Adds a chunk to the log. Of an event, its data and its type are kept: its id is that of the run. Returns a promise if the next one has to wait. */
  private take(chunk: unknown): Promise<void> | undefined {
    const { gatherer, settings } = this.parts;
    if (this.ended) {
      markHandled(chunk);
      return undefined;
    }
    if (isFlushMark(chunk)) {
      gatherer.flush();
      return undefined;
    }
    const event = eventIn(chunk, settings.events);
    if (event && isThenable(event.data)) {
      return this.takeLater(event, event.data);
    }
    const data = event ? event.data : chunk;
    if (data === undefined && (event || settings.events === 'shape')) {
      // Only a comment or a `retry`, which belong to one response, or the value of a `Subject<void>`.
      return undefined;
    }
    const entry = entryOf(data, { type: event?.type });
    const { items, bytes } = gatherer.total;
    const { limits } = settings;
    if (items + 1 > limits.items || bytes + sizeOf(entry) > limits.bytes) {
      throw new StreamError(
        'too-large',
        `The run has more than ${limits.items} chunks or ${limits.bytes} bytes: raise "limits" of registerRuns(), or produce less`,
        { statusCode: 500 },
      );
    }
    return gatherer.add(entry);
  }

  /** Takes an event whose data is a promise. */
  private takeLater(event: StreamEvent, data: PromiseLike<unknown>): Promise<void> {
    if (this.source?.kind === 'push') {
      markHandled(data);
      throw promiseOfPush();
    }
    return Promise.resolve(data).then((value) => this.take({ ...event, data: value }));
  }

  private attempt(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (this.ended) {
      if (!this.isAbort(error)) {
        this.parts.onLate(error);
      }
      return;
    }
    this.end({ status: 'failed', error }, new StreamCloseError('error', 'The run failed', { cause: error }));
  }

  /** Returns whether an error is only the consequence of the aborted signal. */
  private isAbort(error: unknown): boolean {
    const { name, cause } = (error ?? {}) as { readonly name?: unknown; readonly cause?: unknown };
    const { reason } = this.signal;
    return this.signal.aborted && (error === reason || cause === reason || name === 'AbortError');
  }

  private end(outcome: Outcome, abort?: StreamCloseError): void {
    if (this.ended) {
      return;
    }
    this.ended = true;
    if (abort) {
      this.halt(abort);
    }
    this.parts.onEnd(outcome);
  }

  private halt(reason: StreamCloseError): void {
    const { source } = this;
    this.source = undefined;
    this.scope.runInAsyncScope(() => this.controller.abort(reason));
    if (source) {
      this.release(source);
    }
  }

  private release(source: PullSource | PushSource): void {
    try {
      onRejection(
        this.scope.runInAsyncScope(() => source.stop()),
        (error) => this.parts.onLate(error),
      );
    } catch (error) {
      this.parts.onLate(error);
    }
  }
}

function promiseOfPush(): StreamError {
  return new StreamError(
    'invalid-source',
    'An Observable of a run emits chunks, not promises of chunks: use concatMap() before it',
  );
}

/** @throws {StreamError} `invalid-source` */
function sourceOfRun(produced: unknown): PullSource | PushSource {
  const shared =
    typeof produced === 'object' && produced !== null && SOURCE in produced && Symbol.asyncIterator in produced;
  const source = sourceOf(shared ? eventsOf(produced as unknown as AsyncIterable<unknown>) : produced);
  if (source.kind === 'shared' || source.head) {
    throw new StreamError(
      'invalid-source',
      'The producer of a run has returned a Response or a file. A run has no status and headers: return the body of the Response, or the stream of the file',
    );
  }
  return source;
}

/** Reads a subscription or another view with its iterator, since a run has no connection. */
async function* eventsOf(source: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  yield* source;
}
