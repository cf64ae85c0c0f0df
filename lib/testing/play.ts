import { AssertionError } from 'node:assert';
import type { Broker } from '../broker/broker.js';
import type { HubResetReason } from '../format/hub-event.js';
import type { Hub } from '../hub/hub.js';
import type { PublishOptions } from '../hub/hub.options.js';
import { tagOf } from '../hub/position.js';
import { type Logged, offsetIn, type Visit } from './account.js';
import type { Command, Subscribing } from './commands.js';
import { range } from './entries.js';
import { LIMIT } from './limit.js';
import { type Stage, turns } from './stage.js';
import { Visitor } from './visitor.js';
import { Witness } from './witness.js';

/** With which id one comes, and why it is none to go on with. */
interface From {
  readonly id?: string;
  readonly bad?: HubResetReason;
}

/** Somebody who comes, perhaps several times. */
interface Guest {
  readonly wish: Subscribing;
  visitor: Visitor;
}

/** One interleaving, played on hubs of a log of its own. */
export class Play {
  /** How many events were published. They are numbered in this order. */
  private published = 0;
  /** Those of which it is known where they stand. */
  private readonly log: Logged[] = [];
  private readonly publishing: Promise<void>[] = [];
  private readonly guests: Guest[] = [];
  private readonly visitors: Visitor[] = [];

  private constructor(
    private readonly stage: Stage,
    private readonly hubs: readonly Hub[],
    /** Who hears everything at once: what one has, its hub gives to nobody who comes later. */
    private readonly witnesses: readonly Witness[],
  ) {}

  static async begin(stage: Stage, brokers: readonly Broker[]): Promise<Play> {
    const options = { name: stage.newLog(), history: { limit: LIMIT } };
    const hubs: Hub[] = [];
    for (const broker of new Set(brokers)) {
      hubs.push(await stage.hub(broker, options));
    }
    const play = new Play(
      stage,
      hubs,
      hubs.map((hub) => new Witness(hub)),
    );
    play.publish(0, 0);
    await Promise.all(play.publishing);
    return play;
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
        this.guests.push({ wish: command, visitor: this.visit(command, this.startOf(command)) });
        return;
      case 'wait':
        return turns(command.turns);
      default:
        return this.have(command);
    }
  }

  /** Has everyone read on until they have everything, and checks that they do. */
  async finish(): Promise<void> {
    await this.stage.within(Promise.all(this.publishing), 'All is published');
    for (const guest of this.guests) {
      await this.satisfy(guest);
    }
    for (const visitor of this.visitors) {
      visitor.account(this.log);
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.visitors.map((visitor) => visitor.leave()));
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
        guest.visitor.ask();
      }
    } else if (command.do === 'leave') {
      this.guests.splice(index, 1);
      await guest.visitor.leave();
    } else {
      await this.comeBack(guest);
    }
  }

  private async comeBack(guest: Guest): Promise<void> {
    await guest.visitor.leave();
    const { at } = guest.visitor;
    guest.visitor = this.visit(guest.wish, at === undefined ? this.startOf(guest.wish) : { id: at });
  }

  private async satisfy(guest: Guest): Promise<void> {
    for (;;) {
      const account = guest.visitor.account(this.log);
      if (guest.visitor.slow) {
        await this.comeBack(guest);
      } else if (account.settled) {
        return;
      } else {
        await this.stage.within(guest.visitor.more(), 'A subscriber gets everything').catch((error: AssertionError) => {
          throw new AssertionError({ message: `${error.message}. It is ${account}` });
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

  private visit(wish: Subscribing, { id, bad }: From): Visitor {
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
    const visitor = new Visitor(visit, subscription, () => this.published);
    this.visitors.push(visitor);
    return visitor;
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
