import { AssertionError } from 'node:assert';
import type { Broker } from '../../broker/broker.js';
import type { HubResetReason } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { PublishOptions } from '../../hub/hub.options.js';
import { tagOf } from '../../hub/position.js';
import type { Command, Subscribing } from './commands.js';
import { type ContractContext, turns } from './contract-context.js';
import { LIMIT, type Logged, offsetIn, type Visit } from './delivery-audit.js';
import { EagerReader } from './eager-reader.js';
import { range } from './entries.js';
import { ModelSubscriber } from './model-subscriber.js';

/** With which id one comes, and why it is none to go on with. */
interface From {
  readonly id?: string;
  readonly bad?: HubResetReason;
}

/** Somebody who comes, perhaps several times. */
interface Guest {
  readonly wish: Subscribing;
  subscriber: ModelSubscriber;
}

/** One interleaving, played on hubs of a log of its own. */
export class InterleavingRun {
  /** How many events were published. They are numbered in this order. */
  private published = 0;
  /** Those of which it is known where they stand. */
  private readonly log: Logged[] = [];
  private readonly publishing: Promise<void>[] = [];
  private readonly guests: Guest[] = [];
  private readonly subscribers: ModelSubscriber[] = [];

  private constructor(
    private readonly context: ContractContext,
    private readonly hubs: readonly Hub[],
    /** Who hears everything at once: what one has, its hub gives to nobody who comes later. */
    private readonly witnesses: readonly EagerReader[],
  ) {}

  static async begin(context: ContractContext, brokers: readonly Broker[]): Promise<InterleavingRun> {
    const options = { name: context.newLog(), history: { limit: LIMIT } };
    const hubs: Hub[] = [];
    for (const broker of new Set(brokers)) {
      hubs.push(await context.hub(broker, options));
    }
    const run = new InterleavingRun(
      context,
      hubs,
      hubs.map((hub) => new EagerReader(hub)),
    );
    run.publish(0, 0);
    await Promise.all(run.publishing);
    return run;
  }

  async perform(command: Command): Promise<void> {
    switch (command.do) {
      case 'publish':
        this.publish(command.hub, command.pad, command);
        return;
      case 'evict':
        for (const _ of range(1, command.count)) {
          this.publish(command.hub, 0, { topic: 'c' });
        }
        return;
      case 'subscribe':
        this.guests.push({ wish: command, subscriber: this.visit(command, this.startOf(command)) });
        return;
      case 'wait':
        return turns(command.turns);
      default:
        return this.have(command);
    }
  }

  /** Has everyone read on until they have everything, and checks that they do. */
  async finish(): Promise<void> {
    await this.context.within(Promise.all(this.publishing), 'All is published');
    for (const guest of this.guests) {
      await this.satisfy(guest);
    }
    for (const subscriber of this.subscribers) {
      subscriber.audit(this.log);
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.subscribers.map((subscriber) => subscriber.leave()));
    await Promise.all(this.hubs.map((hub) => hub.close()));
  }

  private async have({ who, ...command }: Extract<Command, { who: number }>): Promise<void> {
    const index = who % (this.guests.length || 1);
    const guest = this.guests[index];
    if (!guest) {
      return;
    }
    if (command.do === 'read') {
      for (const _ of range(1, command.count)) {
        guest.subscriber.ask();
      }
    } else if (command.do === 'leave') {
      this.guests.splice(index, 1);
      await guest.subscriber.leave();
    } else {
      await this.comeBack(guest);
    }
  }

  private async comeBack(guest: Guest): Promise<void> {
    await guest.subscriber.leave();
    const { at } = guest.subscriber;
    guest.subscriber = this.visit(guest.wish, at === undefined ? this.startOf(guest.wish) : { id: at });
  }

  private async satisfy(guest: Guest): Promise<void> {
    for (;;) {
      const audit = guest.subscriber.audit(this.log);
      if (guest.subscriber.slow) {
        await this.comeBack(guest);
      } else if (audit.settled) {
        return;
      } else {
        await this.context
          .within(guest.subscriber.more(), 'A subscriber gets everything')
          .catch((error: AssertionError) => {
            throw new AssertionError({ message: `${error.message}. It is ${audit}` });
          });
      }
    }
  }

  private publish(by: number, pad: number, { topic, key }: PublishOptions = {}): void {
    this.published++;
    const n = this.published;
    const hub = this.hubs[by % this.hubs.length] as Hub;
    const known = hub.publish({ n, pad: 'x'.repeat(pad) }, { topic, key }).then((id) => {
      this.log.push({ n, topic, id, offset: offsetIn(id) });
      this.log.sort((one, other) => one.offset - other.offset);
    });
    // It is waited for later.
    known.catch(() => undefined);
    this.publishing.push(known);
  }

  private visit(wish: Subscribing, { id, bad }: From): ModelSubscriber {
    const { topics, even, overflow, items, bytes } = wish;
    const index = wish.hub % this.hubs.length;
    const visit: Visit = {
      topics,
      even,
      overflow,
      after: id === undefined || bad ? undefined : offsetIn(id),
      bad,
      published: this.published,
      told: this.witnesses[index]?.offset ?? 0,
    };
    const filter = even ? ({ data }: { readonly data: unknown }) => (data as { n: number }).n % 2 === 0 : undefined;
    const hub = this.hubs[index] as Hub;
    const subscription = hub.subscribe({ topic: topics, after: id, filter, overflow, queue: { items, bytes } });
    const subscriber = new ModelSubscriber(visit, subscription, () => this.published);
    this.subscribers.push(subscriber);
    return subscriber;
  }

  private startOf({ from, pick }: Subscribing): From {
    const id = this.log[pick % this.log.length]?.id ?? '';
    const [, epoch, offset] = id.split('.');
    switch (from) {
      case 'now':
        return {};
      case 'had':
        return { id };
      case 'malformed':
        return { id: 'nonsense', bad: 'malformed' };
      case 'hub':
        return { id: `${tagOf('another hub')}.${epoch}.${offset}`, bad: 'hub' };
      case 'epoch':
        return { id: id.replace(`.${epoch}.`, '.another.'), bad: 'epoch' };
      case 'future':
        return { id: id.replace(/[^.]*$/, 'zzzzz'), bad: 'epoch' };
    }
  }
}
