import type { HubEvent } from '../event/hub-event.js';
import { SHARED_SOURCE, type SharedSource } from '../source/shared-source.js';
import { StreamError } from '../util/errors.js';
import { EventIterator } from './event-iterator.js';
import type { Subscriber } from './subscriber.js';

/**
 * A subscription to a hub, made by `hub.subscribe()`. Return it from a `@Stream()` or `@Sse()` method: its events go straight to the
 * client. Or read it with `for await`; leaving the loop ends it. It can be returned or read once.
 *
 * It includes all events since the call of `subscribe()`. Until it is returned or read, it takes no memory for them.
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

  /** Ends the subscription: its stream ends cleanly, and so does a `for await` loop. */
  close(): void {
    this.subscriber.end();
  }

  /** @throws {StreamError} `invalid-source` if it was returned or read already */
  [Symbol.asyncIterator](): AsyncIterator<HubEvent<T>, undefined> {
    // Nothing checks at run time that the data has the type of the hub.
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
