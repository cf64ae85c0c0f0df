import type { HubEvent } from '../event/hub-event.js';
import type { SharedSource } from '../source/shared-source.js';
import { SOURCE } from '../source/source.js';
import { StreamError } from '../util/errors.js';
import { EventIterator } from './event-iterator.js';
import type { Subscriber } from './subscriber.js';

/**
 * A subscription to a hub, created by `hub.subscribe()`. Return it from a `@Stream()` or `@Sse()` method to send its events to the
 * client. Or read it with `for await`: leaving the loop ends the subscription. It can be returned or read only once.
 *
 * It includes all events since the call of `subscribe()`. They take no additional memory until it is returned or read.
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

  /** Ends the subscription. Its stream, or a `for await` loop over it, ends cleanly. */
  close(): void {
    this.subscriber.end();
  }

  /**
   * Reads the events with `for await`.
   * @throws {@link StreamError} with the code `invalid-source` if the subscription was returned or read already
   */
  [Symbol.asyncIterator](): AsyncIterator<HubEvent<T>, undefined> {
    // The type of the data is not checked at run time.
    return new EventIterator(this.take()) as AsyncIterator<HubEvent, undefined> as AsyncIterator<
      HubEvent<T>,
      undefined
    >;
  }

  /** @internal */
  [SOURCE](): SharedSource {
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
