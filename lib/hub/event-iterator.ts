import type { HubEvent } from '../event/hub-event.js';
import type { SharedPort } from '../source/shared-source.js';
import { StreamCloseError, StreamError } from '../util/errors.js';
import { DONE } from '../util/iteration.js';
import type { Subscriber } from './subscriber.js';

interface Call {
  resolve(result: IteratorResult<HubEvent, undefined>): void;
  reject(error: unknown): void;
}

/** Reads a subscription for `for await`. It accepts an event while a call of `next()` waits for one. */
export class EventIterator implements AsyncIterator<HubEvent, undefined>, SharedPort {
  private readonly calls: Call[] = [];
  private ended = false;
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly subscriber: Subscriber) {
    subscriber.connect(this);
    subscriber.resume();
  }

  get sharedFormat(): undefined {
    return undefined;
  }

  get ready(): boolean {
    return this.calls.length > 0;
  }

  next(): Promise<IteratorResult<HubEvent, undefined>> {
    const { failure } = this;
    if (failure) {
      this.failure = undefined;
      return Promise.reject(failure.error);
    }
    if (this.ended) {
      return Promise.resolve(DONE);
    }
    return new Promise((resolve, reject) => {
      this.calls.push({ resolve, reject });
      this.subscriber.resume();
    });
  }

  return(): Promise<IteratorResult<HubEvent, undefined>> {
    this.subscriber.stop();
    this.complete();
    return Promise.resolve(DONE);
  }

  emit(event: HubEvent): void {
    this.calls.shift()?.resolve({ done: false, value: event });
  }

  notify(notice: HubEvent): void {
    this.emit(notice);
  }

  sendPosition(): void {
    // Only clients need a position. A loop can read the ids of its events.
  }

  writeShared(): never {
    throw new StreamError('invalid-state', 'An iteration has no format');
  }

  complete(): void {
    this.ended = true;
    for (const { resolve } of this.calls.splice(0)) {
      resolve(DONE);
    }
  }

  fail(error: unknown): void {
    const call = this.calls.shift();
    if (call) {
      call.reject(error);
    } else {
      this.failure = { error };
    }
    this.complete();
  }

  overflow(): void {
    this.fail(
      new StreamCloseError(
        'slow-consumer',
        'The loop is too slow, and the queue of its subscription is full: raise "queue", or set an "overflow" policy that drops events',
      ),
    );
  }
}
