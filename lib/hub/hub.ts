import type { Observable } from 'rxjs';
import type { Broker } from '../broker/broker.js';
import { StreamError } from '../errors.js';
import type { HubEvent } from '../format/hub-event.js';
import { Attendance } from './attendance.js';
import { entryOf } from './entry.js';
import { FanOut } from './fan-out.js';
import { History, type Start } from './history.js';
import {
  HUB_DEFAULTS,
  type HubOptions,
  type HubPresence,
  type PublishOptions,
  type SubscribeOptions,
} from './hub.options.js';
import { checkPublishOptions, checkSubscribeOptions } from './hub-checks.js';
import { Subscriber, type SubscriberHub } from './subscriber.js';
import { HubSubscription } from './subscription.js';
import { checkTopic } from './topic.js';

/**
 * Publish once, and everyone hears it: one ordered log and its live subscribers. Register it with
 * `StreamingModule.registerHub()`, inject it with `@InjectHub()`.
 *
 * @example
 * ```ts
 * @Controller('prices')
 * export class Prices {
 *   constructor(@InjectHub('prices') private readonly prices: Hub<Price>) {}
 *
 *   @Sse(':symbol')
 *   watch(@Param('symbol') topic: string, @LastEventId() after?: string) {
 *     return this.prices.subscribe({ topic, after });
 *   }
 *
 *   @Post(':symbol')
 *   publish(@Param('symbol') topic: string, @Body() price: Price) {
 *     return this.prices.publish(price, { topic });
 *   }
 * }
 * ```
 */
export class Hub<T = unknown> {
  readonly name: string;
  private readonly attendance = new Attendance();
  private readonly history: History;
  private readonly fanOut: FanOut;
  private readonly shared: SubscriberHub;
  private over: Promise<void> | undefined;

  /** @internal */
  constructor(
    private readonly options: HubOptions,
    broker: Broker,
    warn: (message: string, error?: unknown) => void,
  ) {
    const { attendance } = this;
    const { name, history } = options;
    const { limit = HUB_DEFAULTS.limit, ttl = HUB_DEFAULTS.ttl } = history || {};
    this.name = name;
    this.history = new History(
      name,
      broker,
      { limit: history === false ? 0 : limit, ttl },
      (event) => this.fanOut.send(event),
      warn,
    );
    this.fanOut = new FanOut(this.history.window);
    const isClosed = (): boolean => this.over !== undefined;
    this.shared = {
      history: this.history,
      fanOut: this.fanOut,
      get closed() {
        return isClosed();
      },
      entered: (subscriber) => attendance.add(subscriber),
      left: (subscriber) => attendance.delete(subscriber),
    };
  }

  /** Whoever comes and goes, in this process. Completes when the hub is closed. */
  get presence(): Observable<HubPresence> {
    return this.attendance.presence.asObservable();
  }

  /** @internal */
  async open(): Promise<void> {
    await this.history.open();
    this.fanOut.beginAt(this.history.last);
  }

  /**
   * Publishes to everyone who listens, in all processes that share the broker. Events of one caller keep their order, also
   * without waiting in between.
   *
   * @param data sent as `data`: strings as they are, binary as base64 in text formats, everything else as JSON
   * @returns the id of the event, once it is in the log
   * @throws {StreamError} and publishes nothing: `not-serializable`, `invalid-topic`, `invalid-event`, `hub-closed`; or
   * what the broker throws
   */
  async publish(data: T, options: PublishOptions = {}): Promise<string> {
    this.demandOpen('publish');
    checkPublishOptions(this.name, options);
    return this.history.append(entryOf(data, options));
  }

  /**
   * Listens from now on, or from where the client was. See {@link HubSubscription}.
   * @throws {StreamError} `invalid-topic`, whose status is 400, `invalid-option`, `hub-closed`
   */
  subscribe(options: SubscribeOptions<T> = {}): HubSubscription<T> {
    this.demandOpen('subscribe');
    checkSubscribeOptions(this.name, options);
    const { topic, after, filter, overflow, queue, signal } = options;
    const own = this.options.queue;
    const topics = topic === undefined ? undefined : topicsOf(topic);
    const subscriber = new Subscriber(this.shared, {
      topics,
      start: this.startOf(options, topics),
      resumes: after !== undefined && after !== '',
      filter: filter as ((event: HubEvent) => boolean) | undefined,
      overflow: overflow ?? this.options.overflow ?? 'disconnect',
      queue: {
        events: queue?.events ?? own?.events ?? HUB_DEFAULTS.events,
        bytes: queue?.bytes ?? own?.bytes ?? HUB_DEFAULTS.bytes,
      },
    });
    return new HubSubscription<T>(subscriber, signal);
  }

  /** How many subscribers there are, in this process; with a topic, how many of them would hear of it. */
  size(topic?: string): number {
    return this.attendance.size(topic);
  }

  /** The topics somebody listens to by name, in this process. */
  topics(): string[] {
    return this.attendance.topics;
  }

  /**
   * Closes the hub in this process: its subscribers are given what was published before, and end well. The application does
   * it when it closes. Resolves when nothing more comes from the broker.
   */
  close(): Promise<void> {
    this.over ??= this.end();
    return this.over;
  }

  private async end(): Promise<void> {
    await this.history.close();
    await this.fanOut.finished();
    for (const subscriber of this.attendance.all) {
      subscriber.finish();
    }
    this.attendance.presence.complete();
  }

  private startOf({ after, last = 0 }: SubscribeOptions<T>, topics: readonly string[] | undefined): Start {
    return after === undefined || after === ''
      ? this.history.startWithLast(last, topics)
      : this.history.startAfter(after);
  }

  private demandOpen(what: string): void {
    if (this.over) {
      throw new StreamError('hub-closed', `The hub "${this.name}" is closed: ${what}() is not possible any more`);
    }
  }
}

function topicsOf(topic: string | readonly string[]): readonly string[] {
  const topics = [...new Set(typeof topic === 'string' ? [topic] : topic)].sort();
  for (const each of topics) {
    checkTopic(each);
  }
  return topics;
}
