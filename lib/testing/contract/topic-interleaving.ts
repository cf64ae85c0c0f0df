import assert from 'node:assert/strict';
import type * as fc from 'fast-check';
import type { Broker } from '../../broker/broker.js';
import type { HubEvent, HubReset } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { FastCheck } from './commands.js';
import { type ContractContext, turns } from './contract-context.js';
import { Listener } from './hub-listener.js';

/** The number of events that each topic keeps. */
const LIMIT = 4;
const TOPICS = ['a', 'b', 'c'] as const;
/** The data of the last event of each topic. */
const END = 'end';
/** How long one interleaving may take, on average. */
const MS_PER_RUN = 1_000;

type Command =
  | {
      readonly do: 'publish';
      readonly hub: number;
      readonly topic: number;
      readonly count: number;
      readonly wait: boolean;
    }
  | { readonly do: 'subscribe'; readonly hub: number; readonly topics: readonly number[] }
  | { readonly do: 'read'; readonly client: number; readonly count: number }
  | { readonly do: 'resume'; readonly client: number; readonly hub: number }
  | { readonly do: 'cut'; readonly hub: number }
  | { readonly do: 'wait'; readonly turns: number };

/** Everything that one client has received, over several subscriptions. */
interface Client {
  readonly topics: readonly string[];
  /** The id after which it began. */
  readonly start: string;
  readonly events: HubEvent[];
  listener: Listener;
}

function offsetOf(id: string): number {
  return Number.parseInt(id.split('.')[2] ?? '', 36);
}

function lastId({ events, start }: Client): string {
  return events.at(-1)?.id ?? start;
}

/** Runs commands on hubs of two processes, and then audits what their clients have received. */
class TopicRun {
  /** The offset of each event, and its data, by topic. */
  private readonly published = new Map<string, { readonly offset: number; readonly data: unknown }[]>();
  private readonly publishing: Promise<unknown>[] = [];
  private readonly clients: Client[] = [];
  private count = 0;

  constructor(
    private readonly context: ContractContext,
    private readonly hubs: readonly Hub[],
    private readonly brokers: readonly Broker[],
  ) {}

  async perform(command: Command): Promise<void> {
    switch (command.do) {
      case 'publish':
        for (let n = 0; n < command.count; n++) {
          this.publish(this.hub(command.hub), TOPICS[command.topic] as string, ++this.count);
        }
        return command.wait ? void (await Promise.all(this.publishing)) : undefined;
      case 'subscribe':
        return this.subscribe(
          this.hub(command.hub),
          command.topics.map((topic) => TOPICS[topic] as string),
        );
      case 'read':
        return this.read(this.clients[command.client % (this.clients.length || 1)], command.count);
      case 'resume':
        return this.resume(this.clients[command.client % (this.clients.length || 1)], this.hub(command.hub));
      case 'cut':
        return this.context.setup.cut?.(this.brokers[command.hub % this.brokers.length] as Broker);
      case 'wait':
        return turns(command.turns);
    }
  }

  /** Publishes a last event to each topic. Each client reads up to those of its topics. */
  async finish(): Promise<void> {
    await Promise.all(this.publishing);
    for (const topic of TOPICS) {
      this.publish(this.hub(0), topic, END);
      await Promise.all(this.publishing);
    }
    for (const client of this.clients) {
      const isEnded = (topic: string): boolean =>
        client.events.some((event) => event.topic === topic && event.data === END);
      while (!client.topics.every(isEnded)) {
        await this.read(client, 1);
      }
      this.audit(client);
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.clients.map(({ listener }) => listener.leave()));
    await Promise.all(this.hubs.map((hub) => hub.close()));
  }

  private hub(index: number): Hub {
    return this.hubs[index % this.hubs.length] as Hub;
  }

  private publish(hub: Hub, topic: string, data: unknown): void {
    const publish = async (): Promise<void> => {
      let id: string | undefined;
      // A lost connection may lose it. It is published again only if it was not published for certain.
      await this.context.until('publish() works', async () => {
        id = await hub
          .publish(data, { topic, ...(this.canOnce && { once: `${topic} ${data}` }) })
          .catch(() => undefined);
        return id !== undefined;
      });
      const offset = offsetOf(id ?? '');
      const events = this.published.get(topic) ?? [];
      events.push({ offset, data });
      this.published.set(topic, events);
    };
    this.publishing.push(publish());
  }

  private get canOnce(): boolean {
    return this.brokers[0]?.onceWindow !== undefined;
  }

  private async subscribe(hub: Hub, topics: readonly string[]): Promise<void> {
    // The client knows where it begins, and so does the audit.
    const start = await this.publishStart(hub);
    const subscription = hub.subscribe({ topic: topics, after: start });
    this.clients.push({ topics, start, events: [], listener: new Listener(this.context, subscription) });
  }

  /** Publishes an event that no client wants. A lost connection may lose it, or the answer. */
  private async publishStart(hub: Hub): Promise<string> {
    let id = '';
    await this.context.until('publish() works', async () => {
      id = await hub.publish(++this.count, { topic: 'start' }).catch(() => '');
      return id !== '';
    });
    return id;
  }

  private async read(client: Client | undefined, count: number): Promise<void> {
    for (let n = 0; client && n < count && this.hasMore(client); n++) {
      const { listener, events } = client;
      const before = listener.events.length;
      await listener.count(before + 1);
      events.push(...listener.events.slice(before));
    }
  }

  /** Whether an event of its topics is published that the client has not received. */
  private hasMore(client: Client): boolean {
    const at = offsetOf(lastId(client));
    return client.topics.some((topic) => this.published.get(topic)?.some(({ offset }) => offset > at));
  }

  private async resume(client: Client | undefined, hub: Hub): Promise<void> {
    if (client) {
      await client.listener.leave();
      const subscription = hub.subscribe({ topic: client.topics, after: lastId(client) });
      client.listener = new Listener(this.context, subscription);
    }
  }

  private audit({ topics, start, events }: Client): void {
    let last = offsetOf(start);
    /** The topics that a `reset` has reported since their last event. */
    const reported = new Set<string>();
    const reached = new Map<string, number>();
    for (const { type, topic, data, id } of events) {
      if (type === 'reset') {
        for (const lost of (data as HubReset).topics ?? topics) {
          reported.add(lost);
        }
        continue;
      }
      const offset = offsetOf(id);
      assert.ok(topic !== undefined && topics.includes(topic), `A subscriber of ${topics} received the topic ${topic}`);
      assert.ok(offset > last, `A subscriber received offset ${offset} after ${last}`);
      const missing = this.missing(topic, reached.get(topic) ?? offsetOf(start), offset);
      const isReported = reported.delete(topic);
      assert.ok(
        missing === 0 || isReported,
        `${missing} events of the topic ${topic} before ${offset} are missing, without a reset`,
      );
      assert.ok(
        missing > 0 || !isReported,
        `A reset reported a loss of the topic ${topic} before ${offset}, but nothing is missing`,
      );
      reached.set(topic, offset);
      last = offset;
    }
  }

  /** Returns how many events of a topic are between two offsets. */
  private missing(topic: string, after: number, before: number): number {
    return this.published.get(topic)?.filter(({ offset }) => offset > after && offset < before).length ?? 0;
  }
}

function commandsOf(fc: FastCheck, canCut: boolean): fc.Arbitrary<Command> {
  const index = fc.nat({ max: 5 });
  const topic = fc.nat({ max: TOPICS.length - 1 });
  return fc.oneof<fc.Arbitrary<Command>[]>(
    fc.record({
      do: fc.constant('publish' as const),
      hub: index,
      topic,
      count: fc.integer({ min: 1, max: 7 }),
      wait: fc.boolean(),
    }),
    fc.record({
      do: fc.constant('subscribe' as const),
      hub: index,
      topics: fc.uniqueArray(topic, { minLength: 1 }),
    }),
    fc.record({ do: fc.constant('read' as const), client: index, count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ do: fc.constant('resume' as const), client: index, hub: index }),
    fc.record({ do: fc.constant('wait' as const), turns: fc.nat({ max: 5 }) }),
    ...(canCut ? [fc.record({ do: fc.constant('cut' as const), hub: index })] : []),
  );
}

/** Runs random interleavings on hubs of two processes that have a history for each topic. */
export async function checkTopicInterleavings(
  fastCheck: FastCheck,
  context: ContractContext,
  brokers: readonly Broker[],
): Promise<void> {
  const { runs = 100, seed, cut } = context.setup;
  const commands = fastCheck.array(commandsOf(fastCheck, cut !== undefined), { maxLength: 40 });
  const property = fastCheck.asyncProperty(commands, async (steps) => {
    const options = { name: context.newLog(), history: { per: 'topic', limit: LIMIT } } as const;
    const different = [...new Set(brokers)];
    const hubs: Hub[] = [];
    for (const broker of different) {
      hubs.push(await context.hub(broker, options));
    }
    const run = new TopicRun(context, hubs, different);
    try {
      for (const step of steps) {
        await run.perform(step);
      }
      await run.finish();
    } finally {
      await run.end();
    }
  });
  await fastCheck.assert(property, {
    numRuns: runs,
    interruptAfterTimeLimit: runs * MS_PER_RUN,
    ...(seed !== undefined && { seed }),
  });
}
