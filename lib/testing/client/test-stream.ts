import { AssertionError } from 'node:assert';
import { clearTimeout, setTimeout } from 'node:timers';
import { inspect } from 'node:util';
import { type EventFields, isOwnNotice, type StreamEnd, type StreamedEvent } from './body/streamed-event.js';
import type { Answer } from './http-answer.js';

/** The number of unread events at which the client stops reading from the socket. */
const UNREAD_LIMIT = 1_000;
/** The number of received events that a message lists. */
const LISTED = 3;

/** The name of a stream for messages, and the options of its client. */
export interface StreamExpectations {
  /** For example `GET /feed`. */
  readonly name: string;
  readonly timeout: number;
  /** Whether to also return events without data of the application. */
  readonly all: boolean;
}

/** One call that waits for events. */
interface Call {
  readonly what: string;
  expired: boolean;
}

/**
 * A client of a stream for tests, returned by {@link streamOf}. It reads as fast as possible, but pauses while 1000 events are unread by the
 * test.
 *
 * The promises of its methods reject with an `AssertionError` if the stream ends before the expected event, or after `timeout`. The message
 * shows which events were received instead.
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
    answer.listen({ onEvents: (events) => this.add(events), onEnd: (how, failure) => this.onEnd(how, failure) });
  }

  /** The status code of the response. */
  get status(): number {
    return this.answer.status;
  }

  /** The headers of the response. */
  get headers(): Headers {
    return this.answer.headers;
  }

  /**
   * How the stream has ended, or `undefined` while it is open. Events that were received before the end may still be unread.
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

  /** Returns a promise for the next event. */
  async next(): Promise<StreamedEvent<T>> {
    return this.call(`event ${this.count + 1}`, (call) => this.demand(call));
  }

  /** Returns a promise for the next `count` events. */
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
   * Returns a promise for the next event for which `predicate` returns `true`. Events before it are skipped.
   *
   * @example
   * ```ts
   * await stream.until((event) => event.type === 'done');
   * ```
   */
  async until(predicate: (event: StreamedEvent<T>) => boolean): Promise<StreamedEvent<T>> {
    return this.call('an event that matches the predicate', async (call) => {
      for (;;) {
        const event = await this.demand(call);
        if (predicate(event)) {
          return event;
        }
      }
    });
  }

  /** Returns a promise for all remaining events. It resolves once the stream has ended in any way: check {@link ended}. */
  async rest(): Promise<StreamedEvent<T>[]> {
    return this.call('the end', async (call) => {
      const events: StreamedEvent<T>[] = [];
      for (let event = await this.take(call); event; event = await this.take(call)) {
        events.push(event);
      }
      return events;
    });
  }

  /** Iterates over all remaining events. `timeout` applies to each event. Leaving the loop disconnects the client. */
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

  /** Closes the connection without waiting for the end of the stream. Events that were received before can still be read. */
  disconnect(): void {
    this.onEnd('disconnected');
    this.answer.destroy();
  }

  /**
   * Stops reading from the socket. The server can still send as many bytes as fit in the buffers of the operating system, often some
   * megabytes. After that, its writes wait.
   */
  stall(): void {
    this.stalled = true;
    this.answer.pause();
  }

  /** Starts reading from the socket again. */
  resume(): void {
    this.stalled = false;
    this.answer.resume();
  }

  private add(events: readonly EventFields[]): void {
    for (const event of events) {
      if (this.expectations.all || ('data' in event && !isOwnNotice(event))) {
        // The caller of streamOf() declares the type of the data.
        this.waiting.push(event as StreamedEvent<T>);
      }
    }
    if (this.waiting.length >= UNREAD_LIMIT) {
      this.answer.pause();
    }
    this.wake();
  }

  private onEnd(how: StreamEnd, failure?: Error): void {
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

  /** Resolves to the next event, or to `undefined` at the end. */
  private async take(call: Call): Promise<StreamedEvent<T> | undefined> {
    while (this.waiting.length === 0 && this.end === undefined && !call.expired) {
      await this.eventOrEnd();
    }
    if (call.expired) {
      const why = this.stalled ? ': the client is stalled, call resume()' : '';
      throw this.unmet(`${call.what} did not arrive within ${this.expectations.timeout} ms${why}`);
    }
    const event = this.waiting.shift();
    if (event) {
      this.onTaken(event);
    } else if (this.failure) {
      throw this.unmet(this.failure.message);
    }
    return event;
  }

  private onTaken(event: StreamedEvent<T>): void {
    this.count++;
    this.taken.push(event);
    if (this.taken.length > LISTED) {
      this.taken.shift();
    }
    if (this.waiting.length === 0 && !this.stalled) {
      this.answer.resume();
    }
  }

  private eventOrEnd(): Promise<void> {
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
    const received = this.count === 0 ? 'No event was received' : `Received: ${this.count}, the last of them ${last}`;
    return new AssertionError({
      message: `${this.expectations.name} (status ${this.status}): ${problem}. ${received}`,
    });
  }
}
