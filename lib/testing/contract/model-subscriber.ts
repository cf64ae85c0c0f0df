import type { HubEvent } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { HubSubscription } from '../../hub/subscription.js';
import { StreamCloseError } from '../../util/errors.js';
import { type Delivery, DeliveryAudit, type LoggedEvent, offsetIn, type SubscriptionModel } from './delivery-audit.js';

/** A subscriber that reads only on demand, until it leaves or is disconnected as too slow. */
export class ModelSubscriber {
  /** Whether the hub disconnected it as too slow, as its policy allows. */
  slow = false;
  private readonly deliveries: Delivery[] = [];
  private failure: unknown;
  /** The reads that have not resolved yet. */
  private readonly reads: Promise<void>[] = [];
  private readonly iterator: AsyncIterator<HubEvent, undefined>;

  constructor(
    private readonly model: SubscriptionModel,
    subscription: HubSubscription,
    private readonly published: () => number,
  ) {
    this.iterator = subscription[Symbol.asyncIterator]();
  }

  /** The id of the last event that was received. */
  get at(): string | undefined {
    return this.deliveries.at(-1)?.event.id;
  }

  /** Starts to read one more event. */
  startRead(): void {
    this.reads.push(this.read());
  }

  /** Waits for one more event. */
  async readOne(): Promise<void> {
    if (this.reads.length === 0) {
      this.startRead();
    }
    await this.reads[0];
  }

  private async read(): Promise<void> {
    try {
      const { value } = await this.iterator.next();
      if (value) {
        this.deliveries.push({ event: value, published: this.published() });
      }
    } catch (error) {
      this.slow =
        this.model.overflow === 'disconnect' && error instanceof StreamCloseError && error.code === 'slow-consumer';
      this.failure = this.slow ? undefined : error;
    } finally {
      void this.reads.shift();
    }
  }

  /** @throws if the subscription has failed, or has delivered something wrong */
  audit(log: readonly LoggedEvent[]): DeliveryAudit {
    if (this.failure !== undefined) {
      throw this.failure;
    }
    return new DeliveryAudit(this.model, log).follow(this.deliveries);
  }

  async leave(): Promise<void> {
    await this.iterator.return?.();
  }
}

/** Reads every event of a hub immediately. An event that it has received is not delivered to later subscribers. */
export class EagerReader {
  /** The offset of the last event that was received. */
  offset = 0;

  constructor(hub: Hub) {
    void this.listen(hub.subscribe({ queue: { items: Number.POSITIVE_INFINITY } }));
  }

  private async listen(events: AsyncIterable<HubEvent>): Promise<void> {
    for await (const { id } of events) {
      this.offset = offsetIn(id);
    }
  }
}
