import { StreamError } from '../errors.js';
import type { HubEvent } from '../event/hub-event.js';
import { SHARED_SOURCE, type SharedSource } from '../source/shared-source.js';
import { EventIterator } from './event-iterator.js';
import type { Subscriber } from './subscriber.js';

/**
 * What `hub.subscribe()` returns. Return it from a `@Stream()` or `@Sse()` method: its events go straight to the client. Or
 * read it with `for await`; an iteration that leaves the loop ends it.
 *
 * It listens from when it was made, and takes nothing up until it is returned or read; both can be done once.
 *
 * @example
 * ```ts
 * @Sse('prices')
 * prices(@LastEventId() after?: string) {
 *   return this.hub.subscribe({ after });
 * }
 * ```
 */
export class HubSubscription<T = unknown> implements AsyncIterable<HubEvent<T>> {
  private taken = false;

  private constructor(
    private readonly subscriber: Subscriber,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** @internal */
  static of<T>(subscriber: Subscriber, signal: AbortSignal | undefined): HubSubscription<T> {
    return new HubSubscription<T>(subscriber, signal);
  }

  /** Ends it: the stream it feeds ends well, an iteration too. */
  close(): void {
    this.subscriber.end();
  }

  /** @throws {StreamError} `invalid-source` when it is read already */
  [Symbol.asyncIterator](): AsyncIterator<HubEvent<T>, undefined> {
    // What was published is what was typed: a subscriber of another type is told so by nobody.
    return new EventIterator(this.take()) as AsyncIterator<HubEvent, undefined> as AsyncIterator<
      HubEvent<T>,
      undefined
    >;
  }

  /** @internal */
  [SHARED_SOURCE](): SharedSource {
    return this.take();
  }

  private take(): Subscriber {
    if (this.taken) {
      throw new StreamError('invalid-source', 'A subscription is read once: call subscribe() again');
    }
    this.taken = true;
    if (this.signal) {
      this.endWith(this.signal);
    }
    return this.subscriber;
  }

  private endWith(signal: AbortSignal): void {
    const end = (): void => this.close();
    if (signal.aborted) {
      end();
    } else {
      signal.addEventListener('abort', end, { once: true });
      this.subscriber.onEnd = () => signal.removeEventListener('abort', end);
    }
  }
}
