import type { HubEvent } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { PublishOptions } from '../../hub/hub.options.js';
import type { HubSubscription } from '../../hub/subscription.js';
import type { ContractContext } from './contract-context.js';
import { range } from './entries.js';

/** Publishes numbers without waiting in between. Resolves to their ids. */
export function publishAll(hub: Hub, first: number, last: number, options?: PublishOptions): Promise<string[]> {
  return Promise.all(range(first, last).map((n) => hub.publish(n, options)));
}

/** Iterates a subscription, as fast as it can or as it is asked to. */
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

  /** The id of the last event it had. */
  get at(): string | undefined {
    return this.events.at(-1)?.id;
  }

  /** Takes events until it has so many. Throws what the iteration throws; an end is the end. */
  async count(count: number): Promise<readonly HubEvent[]> {
    while (this.events.length < count) {
      const next = this.iterator.next();
      const { value } = await this.context.within(
        next,
        `A subscriber has ${this.events.length}, and hears ${count} events`,
      );
      if (value === undefined) {
        break;
      }
      this.events.push(value);
    }
    return this.events;
  }

  /** Takes all there is until it ends. */
  async rest(): Promise<readonly HubEvent[]> {
    return this.count(Number.POSITIVE_INFINITY);
  }

  async leave(): Promise<void> {
    await this.iterator.return?.();
  }
}
