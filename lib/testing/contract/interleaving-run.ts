import { AssertionError } from 'node:assert';
import type { Broker } from '../../broker/broker.js';
import type { HubResetReason } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { PublishOptions } from '../../hub/hub.options.js';
import { tagOf } from '../../hub/position.js';
import type { Command, SubscribeCommand } from './commands.js';
import { type ContractContext, turns } from './contract-context.js';
import { LIMIT, positionIn, type SubscriptionModel } from './delivery-audit.js';
import { range } from './entries.js';
import { FaultInjector } from './fault-injector.js';
import { ModelLog } from './model-log.js';
import { EagerReader, ModelSubscriber } from './model-subscriber.js';

/** The id from which to resume, and the reason if the hub must reject it. */
interface ResumePoint {
  readonly id?: string;
  readonly bad?: HubResetReason;
}

/** A client that may subscribe several times, always with the same options. */
interface Client {
  readonly options: SubscribeCommand;
  subscriber: ModelSubscriber;
}

/** Runs one interleaving on hubs that share a new log. */
export class InterleavingRun {
  /** The number of events published so far. Events are numbered in this order. */
  private published = 0;
  private readonly log = new ModelLog();
  private readonly publishing: Promise<void>[] = [];
  private readonly clients: Client[] = [];
  private readonly subscribers: ModelSubscriber[] = [];

  /** One reader for each hub, which knows the last event that the hub has delivered. */
  private readonly eagerReaders: readonly EagerReader[];
  private readonly faults: FaultInjector;

  private constructor(
    private readonly context: ContractContext,
    private readonly hubs: readonly Hub[],
    name: string,
    brokers: readonly Broker[],
  ) {
    this.eagerReaders = hubs.map((hub) => new EagerReader(hub, (event) => this.log.learn(event)));
    this.faults = new FaultInjector(context.setup, name, brokers, this.log);
  }

  static async begin(context: ContractContext, brokers: readonly Broker[]): Promise<InterleavingRun> {
    const options = { name: context.newLog(), history: { limit: LIMIT } };
    const different = [...new Set(brokers)];
    const hubs: Hub[] = [];
    for (const broker of different) {
      hubs.push(await context.hub(broker, options));
    }
    const run = new InterleavingRun(context, hubs, options.name, different);
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
        this.clients.push({ options: command, subscriber: this.subscribe(command, this.startOf(command)) });
        return;
      case 'wait':
        return turns(command.turns);
      case 'read':
      case 'resume':
      case 'leave':
        return this.performOnClient(command);
      default:
        return this.faults.perform(command);
    }
  }

  /** Lets every client read until it has received everything, and audits all subscribers. */
  async finish(): Promise<void> {
    await this.faults.thaw();
    await this.context.within(Promise.all(this.publishing), 'Each publish() settles');
    await this.untilUndisturbed();
    for (const client of this.clients) {
      await this.readToEnd(client);
    }
    for (const each of [...this.subscribers, ...this.eagerReaders]) {
      each.audit(this.log);
    }
    this.log.audit();
  }

  async end(): Promise<void> {
    await this.faults.thaw();
    await Promise.all(this.subscribers.map((subscriber) => subscriber.leave()));
    await Promise.all(this.hubs.map((hub) => hub.close()));
  }

  /** Waits until each hub can publish again, and delivers what the others publish. */
  private async untilUndisturbed(): Promise<void> {
    for (const by of this.log.disturbed ? this.hubs.keys() : []) {
      await this.context.until('publish() works again', async () => {
        const before = this.log.newest;
        this.publish(by, 0);
        await this.publishing.at(-1);
        return this.log.newest !== before;
      });
    }
    const { epoch, offset } = this.log.newest;
    await this.context.until('A hub delivers the newest event', async () => {
      return this.eagerReaders.every(({ at, failure }) => {
        return failure !== undefined || (at?.epoch === epoch && at.offset >= offset);
      });
    });
  }

  private async performOnClient({ subscriber, ...command }: Extract<Command, { subscriber: number }>): Promise<void> {
    const index = subscriber % (this.clients.length || 1);
    const client = this.clients[index];
    if (!client) {
      return;
    }
    if (command.do === 'read') {
      for (const _ of range(1, command.count)) {
        client.subscriber.startRead();
      }
    } else if (command.do === 'leave') {
      this.clients.splice(index, 1);
      await client.subscriber.leave();
    } else {
      await this.resume(client);
    }
  }

  private async resume(client: Client): Promise<void> {
    await client.subscriber.leave();
    const { at } = client.subscriber;
    client.subscriber = this.subscribe(client.options, at === undefined ? this.startOf(client.options) : { id: at });
  }

  private async readToEnd(client: Client): Promise<void> {
    for (;;) {
      const audit = client.subscriber.audit(this.log);
      if (client.subscriber.slow) {
        await this.resume(client);
      } else if (audit.complete) {
        return;
      } else {
        await this.context
          .within(client.subscriber.readOne(), 'A subscriber receives every event')
          .catch((error: AssertionError) => {
            throw new AssertionError({ message: `${error.message}. The subscriber is ${audit}` });
          });
      }
    }
  }

  private publish(by: number, pad: number, { topic, key }: PublishOptions = {}): void {
    this.published++;
    const n = this.published;
    const hub = this.hubs[by % this.hubs.length] as Hub;
    const known = hub.publish({ n, pad: 'x'.repeat(pad) }, { topic, key }).then(
      (id) => this.log.confirm({ n, topic, id }),
      (error: unknown) => this.log.refuse(n, error),
    );
    // finish() awaits it.
    known.catch(() => undefined);
    this.publishing.push(known);
  }

  private subscribe(options: SubscribeCommand, { id, bad }: ResumePoint): ModelSubscriber {
    const { topics, even, overflow, items, bytes } = options;
    const index = options.hub % this.hubs.length;
    const model: SubscriptionModel = {
      topics,
      even,
      overflow,
      after: id === undefined || bad ? undefined : positionIn(id),
      bad,
      published: this.published,
      deliveredBefore: this.eagerReaders[index]?.at ?? { epoch: this.log.epoch, offset: 0 },
    };
    const filter = even ? ({ data }: { readonly data: unknown }) => (data as { n: number }).n % 2 === 0 : undefined;
    const hub = this.hubs[index] as Hub;
    const subscription = hub.subscribe({ topic: topics, after: id, filter, overflow, queue: { items, bytes } });
    const subscriber = new ModelSubscriber(model, subscription, () => this.published);
    this.subscribers.push(subscriber);
    return subscriber;
  }

  private startOf({ from, pick }: SubscribeCommand): ResumePoint {
    const { events } = this.log;
    const id = events[pick % events.length]?.id ?? '';
    const [, epoch, offset] = id.split('.');
    switch (from) {
      case 'now':
        return {};
      case 'event':
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
