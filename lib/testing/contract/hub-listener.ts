import type { HubEvent } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { PublishOptions } from '../../hub/hub.options.js';
import type { HubSubscription } from '../../hub/subscription.js';
import type { ContractContext } from './contract-context.js';
import { range } from './entries.js';

/** Publishes the numbers from `first` to `last` concurrently. Resolves to the ids of the events. */
export function publishAll(hub: Hub, first: number, last: number, options?: PublishOptions): Promise<string[]> {
  return Promise.all(range(first, last).map((n) => hub.publish(n, options)));
}

/** Reads a subscription on demand and records its events. */
export class Listener {
  readonly events: HubEvent[] = [];
  private readonly iterator: AsyncIterator<HubEvent, undefined>;

  constructor(
    private readonly context: ContractContext,
    subscription: HubSubscription,
  ) {
    this.iterator = subscription[Symbol.asyncIterator]();
  }

  get data(): unknown[] {
    return this.events.map(({ data }) => data);
  }

  /** The id of the last event that was read. */
  get at(): string | undefined {
    return this.events.at(-1)?.id;
  }

  /** Reads until there are `count` events or the subscription ends. Rejects with the error of the subscription, if it fails. */
  async count(count: number): Promise<readonly HubEvent[]> {
    while (this.events.length < count) {
      const next = this.iterator.next();
      const { value } = await this.context.within(
        next,
        `A subscriber that has ${this.events.length} events receives ${count}`,
      );
      if (value === undefined) {
        break;
      }
      this.events.push(value);
    }
    return this.events;
  }

  /** Reads until the subscription ends. */
  async rest(): Promise<readonly HubEvent[]> {
    return this.count(Number.POSITIVE_INFINITY);
  }

  async leave(): Promise<void> {
    await this.iterator.return?.();
  }
}
