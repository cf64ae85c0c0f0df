import assert from 'node:assert/strict';
import type { HubEvent } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { HubSubscription } from '../../hub/subscription.js';
import { StreamCloseError } from '../../util/errors.js';
import {
  type AuditedLog,
  type Delivery,
  DeliveryAudit,
  type LogPosition,
  positionIn,
  type SubscriptionModel,
} from './delivery-audit.js';

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
  audit(log: AuditedLog): DeliveryAudit {
    if (this.failure !== undefined) {
      throw this.failure;
    }
    try {
      return new DeliveryAudit(this.model, log).follow(this.deliveries);
    } catch (error) {
      throw withReceived(error, this.deliveries);
    }
  }

  async leave(): Promise<void> {
    await this.iterator.return?.();
  }
}

/** Adds to the message of an error what the subscriber has received. */
function withReceived(error: unknown, deliveries: readonly Delivery[]): unknown {
  if (error instanceof Error) {
    const received = deliveries.map(({ event: { id, type, data } }) => `${id} ${type ?? ''}${JSON.stringify(data)}`);
    error.message += `\nThe subscriber received:\n${received.join('\n')}`;
  }
  return error;
}

/** Reads every event of a hub immediately. An event that it has received is not delivered to later subscribers. */
export class EagerReader {
  /** The position of the last event, or `reset`, that was received. */
  at: LogPosition | undefined;
  failure: unknown;

  /** @param onEvent called with every event that was published, and not with notices of the hub */
  constructor(
    hub: Hub,
    private readonly onEvent: (event: HubEvent) => void,
  ) {
    this.listen(hub.subscribe({ queue: { items: Number.POSITIVE_INFINITY } })).catch((error: unknown) => {
      this.failure = error;
    });
  }

  /** @throws if events are missing, and no `reset` has reported it */
  audit(): void {
    if (this.failure !== undefined) {
      throw this.failure;
    }
  }

  private async listen(events: AsyncIterable<HubEvent>): Promise<void> {
    for await (const event of events) {
      const position = positionIn(event.id);
      const { at } = this;
      if (event.type === undefined) {
        assert.ok(
          at === undefined || (position.epoch === at.epoch && position.offset === at.offset + 1),
          `A hub must not deliver ${event.id} after offset ${at?.offset} of the epoch ${at?.epoch}`,
        );
        this.onEvent(event);
      }
      this.at = position;
    }
  }
}
