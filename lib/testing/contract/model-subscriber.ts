import { StreamCloseError } from '../../errors.js';
import type { HubEvent } from '../../event/hub-event.js';
import type { HubSubscription } from '../../hub/subscription.js';
import { DeliveryAudit, type Given, type Logged, type Visit } from './delivery-audit.js';

/** A subscriber that reads when it is told to, from when it comes until it leaves or is given up. */
export class ModelSubscriber {
  /** Whether it was given up, as its policy says. */
  slow = false;
  private readonly given: Given[] = [];
  private failure: unknown;
  /** What is asked for, and not there yet. */
  private readonly asked: Promise<void>[] = [];
  private readonly iterator: AsyncIterator<HubEvent, undefined>;

  constructor(
    readonly visit: Visit,
    subscription: HubSubscription,
    private readonly published: () => number,
  ) {
    this.iterator = subscription[Symbol.asyncIterator]();
  }

  /** The id of what it was given last. */
  get at(): string | undefined {
    return this.given.at(-1)?.event.id;
  }

  /** Asks for one more. */
  ask(): void {
    this.asked.push(this.read());
  }

  /** Waits for one more. */
  async more(): Promise<void> {
    if (this.asked.length === 0) {
      this.ask();
    }
    await this.asked[0];
  }

  private async read(): Promise<void> {
    try {
      const { value } = await this.iterator.next();
      if (value) {
        this.given.push({ event: value, published: this.published() });
      }
    } catch (error) {
      this.slow =
        this.visit.overflow === 'disconnect' && error instanceof StreamCloseError && error.code === 'slow-consumer';
      this.failure = this.slow ? undefined : error;
    } finally {
      void this.asked.shift();
    }
  }

  /** @throws when it was given something wrong, or failed */
  audit(log: readonly Logged[]): DeliveryAudit {
    if (this.failure !== undefined) {
      throw this.failure;
    }
    return new DeliveryAudit(this.visit, log).follow(this.given);
  }

  async leave(): Promise<void> {
    await this.iterator.return?.();
  }
}
