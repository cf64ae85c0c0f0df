import type { BrokerEntry } from '../broker/broker.js';
import { eventIn } from '../event/event.js';
import { entryOf } from '../hub/entry.js';
import { isFlushMark } from '../source/flush.js';
import { type PullSource, type PushSource, SOURCE } from '../source/source.js';
import { sourceOf } from '../source/source-of.js';
import { StreamCloseError, StreamError } from '../util/errors.js';
import { demandStep, type Step } from '../util/iteration.js';
import { isThenable, markHandled, onRejection } from '../util/thenable.js';
import type { Run, RunStopReason } from './run.options.js';
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
  readonly limits: { readonly items: number; readonly bytes: number };
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
    if (this.ended) {
      // It was stopped before it could start.
      return;
    }
    try {
      const produced = await produce(this);
      if (this.ended) {
        this.release(sourceOfRun(produced));
        return;
      }
      const source = sourceOfRun(produced);
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
      detach: () => this.end({ status: 'completed' }),
    });
  }

  /** Takes a chunk of a source that cannot be paced. What waits is limited by the size of the run. */
  private receive(chunk: unknown): void {
    if (isThenable(chunk)) {
      throw new StreamError(
        'invalid-source',
        'An Observable of a run emits chunks, not promises of chunks: use concatMap() before it',
      );
    }
    void this.take(chunk);
  }

  /** Adds a chunk to the log. Returns a promise if the next one has to wait. */
  private take(chunk: unknown): Promise<void> | undefined {
    const { gatherer, limits } = this.parts;
    if (this.ended) {
      markHandled(chunk);
      return undefined;
    }
    if (isFlushMark(chunk)) {
      gatherer.flush();
      return undefined;
    }
    const entry = entryOfChunk(chunk);
    const { items, bytes } = gatherer.total;
    if (items + 1 > limits.items || bytes + sizeOf(entry) > limits.bytes) {
      throw new StreamError(
        'too-large',
        `The run has more than ${limits.items} chunks or ${limits.bytes} bytes: raise "limits" of registerRuns(), or produce less`,
        { statusCode: 500 },
      );
    }
    return gatherer.add(entry);
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
    this.controller.abort(reason);
    if (source) {
      this.release(source);
    }
  }

  private release(source: PullSource | PushSource): void {
    try {
      onRejection(source.stop(), (error) => this.parts.onLate(error));
    } catch (error) {
      this.parts.onLate(error);
    }
  }
}

/** Returns a chunk as a broker stores it. Of an event, its data and its type are kept: its id is that of the run. */
function entryOfChunk(chunk: unknown): BrokerEntry {
  const event = eventIn(chunk, 'explicit');
  return event ? entryOf(event.data ?? null, { type: event.type }) : entryOf(chunk, {});
}

/** @throws {StreamError} `invalid-source` */
function sourceOfRun(produced: unknown): PullSource | PushSource {
  const shared = typeof produced === 'object' && produced !== null && SOURCE in produced;
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
