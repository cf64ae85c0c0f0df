import { AssertionError } from 'node:assert';
import { clearTimeout, setTimeout } from 'node:timers';
import { inspect } from 'node:util';
import type { Answer } from './answer.js';
import { type EventFields, isOwnNotice, type StreamEnd, type StreamedEvent } from './body/streamed-event.js';

/** How much may wait to be taken by the test before no more is read from the socket. */
const UNREAD_LIMIT = 1_000;
/** How many of the last events a message names. */
const NAMED = 3;

/** What every failure says first, and how long a call may take. */
export interface StreamExpectations {
  /** Such as `GET /feed`. */
  readonly name: string;
  readonly timeout: number;
  /** Whether what has no data counts as an event. */
  readonly all: boolean;
}

/** One call that waits, until it has waited for too long. */
interface Call {
  readonly what: string;
  expired: boolean;
}

/**
 * A client of a stream, in the hands of a test: see {@link streamOf}. It reads as fast as it can, until it has a thousand events that
 * nobody has taken.
 *
 * A method that waits rejects with an `AssertionError`, which says what came instead, when the stream ends before or `timeout` is over.
 */
export class TestStream<T = unknown> implements AsyncIterable<StreamedEvent<T>> {
  private readonly waiting: StreamedEvent<T>[] = [];
  private readonly taken: StreamedEvent<T>[] = [];
  private count = 0;
  private stalled = false;
  private end: StreamEnd | undefined;
  private failure: Error | undefined;
  private readonly wakes = new Set<() => void>();

  /** @internal */
  constructor(
    private readonly answer: Answer,
    private readonly expectations: StreamExpectations,
  ) {
    answer.listen({ onEvents: (events) => this.add(events), onEnd: (how, failure) => this.over(how, failure) });
  }

  /** The status of the answer. */
  get status(): number {
    return this.answer.status;
  }

  /** The headers of the answer. */
  get headers(): Headers {
    return this.answer.headers;
  }

  /**
   * How it ended, as far as the socket has told; `undefined` while it goes on. There may still be events to take.
   *
   * @example
   * ```ts
   * const events = await stream.rest();
   * strictEqual(stream.ended, 'complete');
   * ```
   */
  get ended(): StreamEnd | undefined {
    return this.end;
  }

  /** The next event. */
  async next(): Promise<StreamedEvent<T>> {
    return this.call(`event ${this.count + 1}`, (call) => this.demand(call));
  }

  /** The next `count` events. */
  async collect(count: number): Promise<StreamedEvent<T>[]> {
    return this.call(`${count} events from event ${this.count + 1} on`, async (call) => {
      const events: StreamedEvent<T>[] = [];
      while (events.length < count) {
        events.push(await this.demand(call));
      }
      return events;
    });
  }

  /**
   * The first event from here on for which `predicate` holds. Those before it are passed over.
   *
   * @example
   * ```ts
   * await stream.until((event) => event.type === 'done');
   * ```
   */
  async until(predicate: (event: StreamedEvent<T>) => boolean): Promise<StreamedEvent<T>> {
    return this.call('an event for which the predicate holds', async (call) => {
      for (;;) {
        const event = await this.demand(call);
        if (predicate(event)) {
          return event;
        }
      }
    });
  }

  /** All events up to the end, whichever way it ends: look at {@link ended}. */
  async rest(): Promise<StreamedEvent<T>[]> {
    return this.call('the end', async (call) => {
      const events: StreamedEvent<T>[] = [];
      for (let event = await this.take(call); event; event = await this.take(call)) {
        events.push(event);
      }
      return events;
    });
  }

  /** Iterates as `rest()` does; `timeout` is for each event. Leaving the loop disconnects. */
  async *[Symbol.asyncIterator](): AsyncGenerator<StreamedEvent<T>, void, undefined> {
    try {
      for (;;) {
        const event = await this.call(`event ${this.count + 1}, or the end,`, (call) => this.take(call));
        if (!event) {
          return;
        }
        yield event;
      }
    } finally {
      this.disconnect();
    }
  }

  /** Leaves without a word, as a client that crashes. What it has received can still be taken. */
  disconnect(): void {
    this.over('disconnected');
    this.answer.destroy();
  }

  /**
   * Takes nothing more from its socket. What the buffers of the operating system hold, often some megabytes, the server can still send;
   * then its writes wait.
   */
  stall(): void {
    this.stalled = true;
    this.answer.pause();
  }

  /** Takes from its socket again. */
  resume(): void {
    this.stalled = false;
    this.answer.resume();
  }

  private add(events: readonly EventFields[]): void {
    for (const event of events) {
      if (this.expectations.all || ('data' in event && !isOwnNotice(event))) {
        // The type of the data is what the caller of streamOf() says.
        this.waiting.push(event as StreamedEvent<T>);
      }
    }
    if (this.waiting.length >= UNREAD_LIMIT) {
      this.answer.pause();
    }
    this.wake();
  }

  private over(how: StreamEnd, failure?: Error): void {
    if (this.end === undefined) {
      this.end = how;
      this.failure = failure;
      this.wake();
    }
  }

  private wake(): void {
    for (const wake of this.wakes) {
      wake();
    }
  }

  private async call<R>(what: string, run: (call: Call) => Promise<R>): Promise<R> {
    const call: Call = { what, expired: false };
    const timer = setTimeout(() => {
      call.expired = true;
      this.wake();
    }, this.expectations.timeout);
    try {
      return await run(call);
    } finally {
      clearTimeout(timer);
    }
  }

  private async demand(call: Call): Promise<StreamedEvent<T>> {
    const event = await this.take(call);
    if (!event) {
      throw this.unmet(`the stream ended (${this.end}) before ${call.what}`);
    }
    return event;
  }

  /** The next event, or nothing at the end. */
  private async take(call: Call): Promise<StreamedEvent<T> | undefined> {
    while (this.waiting.length === 0 && this.end === undefined && !call.expired) {
      await this.news();
    }
    if (call.expired) {
      const why = this.stalled ? ': it is stalled, and resume() has it go on' : '';
      throw this.unmet(`${call.what} did not come within ${this.expectations.timeout} ms${why}`);
    }
    const event = this.waiting.shift();
    if (event) {
      this.note(event);
    } else if (this.failure) {
      throw this.unmet(this.failure.message);
    }
    return event;
  }

  private note(event: StreamedEvent<T>): void {
    this.count++;
    this.taken.push(event);
    if (this.taken.length > NAMED) {
      this.taken.shift();
    }
    if (this.waiting.length === 0 && !this.stalled) {
      this.answer.resume();
    }
  }

  private news(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.wakes.delete(wake);
        resolve();
      };
      this.wakes.add(wake);
    });
  }

  private unmet(problem: string): AssertionError {
    const last = this.taken.map((event) => inspect(event, { breakLength: 120, maxStringLength: 200 })).join(', ');
    const came = this.count === 0 ? 'No event came' : `Taken: ${this.count}, the last of them ${last}`;
    return new AssertionError({ message: `${this.expectations.name} (status ${this.status}): ${problem}. ${came}` });
  }
}
