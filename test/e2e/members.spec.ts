import { Controller, Get, Param, Query } from '@nestjs/common';
import { PACE } from '../../lib/cluster/members.js';
import {
  type Broker,
  type BrokerEntry,
  type BrokerListener,
  type BrokerRetention,
  Hub,
  type HubOptions,
  InjectHub,
  LastEventId,
  MemoryBroker,
  Sse,
  StreamingModule,
} from '../../lib/index.js';
import { SharedStore, SharedStoreBroker } from '../contract/shared-store.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { eventsOf, eventsUntil, hubOf, joined, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, useApps } from '../support/running.js';
import { describeSharedBrokers } from '../support/shared-brokers.js';

interface User {
  readonly id?: string;
  readonly name?: string;
}

@Controller('rooms')
class Rooms {
  constructor(@InjectHub('feed') private readonly hub: Hub) {}

  @Sse(':room')
  watch(@Param('room') room: string, @Query() { id, name }: User, @LastEventId() after?: string) {
    const topic = room.split(',');
    return this.hub.subscribe({
      topic,
      ...(after !== undefined && { after }),
      ...(id !== undefined && { member: { id, info: name === undefined ? undefined : { name } } }),
    });
  }

  @Get(':room/members')
  members(@Param('room') room: string) {
    return this.hub.members(room);
  }
}

/** A broker that can be cut off, so that its process neither sends nor receives anything. */
class CutBroker implements Broker {
  isCut = false;
  private readonly missed: (() => void)[] = [];

  constructor(private readonly broker: Broker) {}

  open(log: string, retention: BrokerRetention) {
    return this.broker.open(log, retention);
  }

  async append(log: string, entry: BrokerEntry) {
    if (this.isCut) {
      throw new Error('The store cannot be reached');
    }
    return this.broker.append(log, entry);
  }

  tail(log: string, listener: BrokerListener) {
    return this.broker.tail(log, (records, position) => {
      if (this.isCut) {
        this.missed.push(() => listener(records, position));
      } else {
        listener(records, position);
      }
    });
  }

  read(log: string, after: number, count: number) {
    return this.broker.read(log, after, count);
  }

  close() {
    return this.broker.close();
  }

  /** The process receives what comes from now on. */
  forget(): void {
    this.missed.splice(0);
    this.isCut = false;
  }

  /** The process receives what it has missed. */
  restore(): void {
    this.isCut = false;
    for (const deliver of this.missed.splice(0)) {
      deliver();
    }
  }
}

type Process = RunningApp & { readonly hub: Hub };

function useProcesses(platform: Platform) {
  const launch = useApps();
  return async (broker: Broker | undefined, history?: HubOptions['history']): Promise<Process> => {
    const app = await launch(platform, {
      controllers: [Rooms],
      imports: [StreamingModule.registerHub({ name: 'feed', ...(history && { history }) })],
      options: broker ? { broker } : {},
    });
    return { ...app, hub: hubOf(app) };
  };
}

/** Opens the stream of a room. */
async function enter(app: Process, room: string, id?: string, name?: string): Promise<RawClient> {
  const size = app.hub.size() + 1;
  const query = new URLSearchParams({ ...(id !== undefined && { id }), ...(name !== undefined && { name }) });
  const client = await app.get(`/rooms/${room}?${query}`, { ...SSE, Connection: 'close' });
  await joined(app.hub, size);
  return client;
}

async function idsIn({ hub }: Process, topic?: string): Promise<string[]> {
  return (await hub.members(topic)).map(({ id }) => id).sort();
}

/** Waits until the members of a topic are these. */
async function are(app: Process, topic: string | undefined, expected: readonly string[]): Promise<void> {
  while ((await idsIn(app, topic)).join() !== expected.join()) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Member {
  readonly id: string;
}
type Changes = { readonly joined: readonly Member[]; readonly left: readonly Member[] };

/** Returns each change of members that the events of a topic name. */
function changesIn(events: readonly { readonly type: string | undefined; readonly data: unknown }[]): string[] {
  return events.flatMap(({ type, data }) => {
    if (type !== 'members') {
      return [];
    }
    const { joined, left } = data as Changes;
    return [...joined.map(({ id }) => `+${id}`), ...left.map(({ id }) => `-${id}`)];
  });
}

/** Records the changes of the members of a topic that a process receives. */
function record({ hub }: Process, topic?: string): Recorder {
  const changes = new Recorder();
  const read = async () => {
    for await (const event of hub.subscribe(topic === undefined ? {} : { topic })) {
      changesIn([event]).forEach(changes.add);
    }
  };
  void read();
  return changes;
}

const { beatMs, graceMs, lookMs } = PACE;

beforeEach(() => {
  Object.assign(PACE, { beatMs: 60, graceMs: 50, lookMs: 20 });
});

afterAll(() => {
  Object.assign(PACE, { beatMs, graceMs, lookMs });
});

describe('The members of a hub with several processes and', () => {
  const launch = useProcesses('express');

  describeSharedBrokers({ servers: true }, (start) => {
    it('are those of all processes, each once', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      await enter(a, 'red', 'u1', 'Ann');
      await enter(a, 'red', 'u1', 'Ann');
      await enter(b, 'red', 'u1', 'Ann');
      await enter(b, 'red', 'u2');
      await enter(b, 'blue', 'u3');
      await enter(b, 'red');
      await Promise.all([are(a, 'red', ['u1', 'u2']), are(b, 'red', ['u1', 'u2'])]);

      const members = (await (await fetch(a.url('/rooms/red/members'))).json()) as Member[];
      expect(members.sort((x, y) => (x.id < y.id ? -1 : 1))).toEqual([
        { id: 'u1', info: { name: 'Ann' } },
        { id: 'u2' },
      ]);
      expect(await idsIn(a)).toEqual(['u1', 'u2', 'u3']);
      expect(await idsIn(a, 'green')).toEqual([]);
    });

    it('come and go once for all subscribers of the topic, however many tabs they have', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const seen = await Promise.all([enter(a, 'red'), enter(b, 'red')]);
      const tabs = [await enter(a, 'red', 'u1', 'Ann'), await enter(b, 'red', 'u1', 'Ann')];
      // Members who come together may share an event.
      await Promise.all(seen.map((client) => eventsUntil(client, 1)));
      const other = await enter(b, 'red', 'u2');
      await are(a, 'red', ['u1', 'u2']);

      for (const tab of tabs) {
        tab.disconnect();
      }
      await are(a, 'red', ['u2']);
      other.disconnect();

      for (const client of seen) {
        while (!client.body.includes('"left":[{"id":"u2"}]')) {
          await eventsUntil(client, eventsOf(client.body).length + 1);
        }
        const events = eventsOf(client.body);
        expect(events.every(({ event }) => event === 'members')).toBe(true);
        expect(events.map(({ data }) => data)).toEqual([
          '{"topic":"red","joined":[{"id":"u1","info":{"name":"Ann"}}],"left":[]}',
          '{"topic":"red","joined":[{"id":"u2"}],"left":[]}',
          '{"topic":"red","joined":[],"left":[{"id":"u1","info":{"name":"Ann"}}]}',
          '{"topic":"red","joined":[],"left":[{"id":"u2"}]}',
        ]);
      }
    });

    it('have the newest info, and a change of it is told', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const client = await enter(a, 'red');
      await enter(a, 'red', 'u1', 'Ann');
      await eventsUntil(client, 1);
      await enter(b, 'red', 'u1', 'Anna');
      const [, changed] = await eventsUntil(client, 2);

      expect(changed?.data).toBe('{"topic":"red","joined":[{"id":"u1","info":{"name":"Anna"}}],"left":[]}');
      for (const { hub } of [a, b]) {
        expect(await hub.members('red')).toEqual([{ id: 'u1', info: { name: 'Anna' } }]);
      }
    });

    it('are known to a process that starts later, and those of a process that was closed leave once', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      await enter(a, 'red', 'u1');
      await enter(b, 'red,blue', 'u2');
      await enter(b, 'red', 'u3');
      await are(a, 'red', ['u1', 'u2', 'u3']);
      const c = await launch(brokerOf());
      await are(c, 'red', ['u1', 'u2', 'u3']);
      const changes = record(c, 'red');
      await enter(c, 'red', 'u1');
      await enter(c, 'red', 'u4');
      await changes.count(1);

      await b.close();

      expect((await changes.count(3)).toSorted()).toEqual(['+u4', '-u2', '-u3']);
      await Promise.all([are(a, 'red', ['u1', 'u4']), are(c, 'red', ['u1', 'u4'])]);
      await are(a, 'blue', []);
      await enter(a, 'red', 'u5');
      expect((await changes.count(4)).at(-1)).toBe('+u5');
    });

    it('of a process that vanishes leave once, and come back with it', async () => {
      const brokerOf = start();
      const broker = new CutBroker(brokerOf());
      const processes = [await launch(brokerOf()), await launch(brokerOf()), await launch(broker)] as const;
      const [a, b, c] = processes;
      const changes = record(b, 'red');
      await enter(a, 'red', 'u1');
      await enter(c, 'red', 'u1');
      const client = await enter(c, 'red', 'u2');
      await Promise.all(processes.map((each) => are(each, 'red', ['u1', 'u2'])));
      await changes.count(2);

      broker.isCut = true;
      await changes.count(3);
      await Promise.all([are(a, 'red', ['u1']), are(b, 'red', ['u1'])]);
      expect(await idsIn(c, 'red')).toEqual(['u1', 'u2']);

      broker.restore();
      await changes.count(4);
      await Promise.all(processes.map((each) => are(each, 'red', ['u1', 'u2'])));

      client.disconnect();
      expect((await changes.count(5)).slice(2)).toEqual(['-u2', '+u2', '-u2']);
    }, 60_000);
  });
});

describe('Members whose broker loses messages', () => {
  const launch = useProcesses('express');

  it('are complete again when the whole log was lost', async () => {
    const store = new SharedStore();
    const [a, b] = [await launch(new SharedStoreBroker(store)), await launch(new SharedStoreBroker(store))];
    const changes = record(a, 'red');
    await enter(a, 'red', 'u1');
    const client = await enter(b, 'red', 'u2');
    await changes.count(2);

    store.lose('~members');
    client.disconnect();
    await joined(b.hub, 0);
    await enter(b, 'red', 'u3');

    await Promise.all([are(a, 'red', ['u1', 'u3']), are(b, 'red', ['u1', 'u3'])]);
    expect((await changes.count(4)).slice(2).toSorted()).toEqual(['+u3', '-u2']);
    const c = await launch(new SharedStoreBroker(store));
    await are(c, 'red', ['u1', 'u3']);
  }, 60_000);

  it('are complete again in a process that was away for so long that its messages are not kept', async () => {
    const store = new SharedStore();
    const broker = new CutBroker(new SharedStoreBroker(store));
    const [a, b] = [await launch(new SharedStoreBroker(store)), await launch(broker)];
    const changes = record(a, 'red');
    await enter(a, 'red', 'u1');
    await enter(b, 'red', 'u2');
    await changes.count(2);
    await are(b, 'red', ['u1', 'u2']);

    broker.isCut = true;
    await changes.count(3);
    await enter(a, 'red', 'u3');
    await changes.count(4);
    for (let n = 1; n <= 2_001; n++) {
      store.append('~members', { data: `{"from":"another","n":${n}}`, encoding: 'json' });
    }
    broker.forget();

    expect(await changes.count(5)).toEqual(['+u1', '+u2', '-u2', '+u3', '+u2']);
    await Promise.all([are(a, 'red', ['u1', 'u2', 'u3']), are(b, 'red', ['u1', 'u2', 'u3'])]);
  }, 60_000);
});

describe.each(PLATFORMS)('%s, the members of a hub', (platform) => {
  const launch = useProcesses(platform);

  it('are known in an application without a broker', async () => {
    const app = await launch(undefined);
    const changes = record(app, 'red');
    const client = await enter(app, 'red', 'u1', 'Ann');

    expect(await app.hub.members('red')).toEqual([{ id: 'u1', info: { name: 'Ann' } }]);
    await changes.count(1);
    client.disconnect();
    expect(await changes.count(2)).toEqual(['+u1', '-u1']);
    expect(await app.hub.members('red')).toEqual([]);
  });

  it('are shared by applications with the same MemoryBroker', async () => {
    const broker = new MemoryBroker();
    const [a, b] = [await launch(broker), await launch(broker)];
    await enter(a, 'red', 'u1');
    await enter(b, 'red', 'u2');

    await Promise.all([are(a, 'red', ['u1', 'u2']), are(b, 'red', ['u1', 'u2'])]);
  });

  it.each(['log', 'topic'] as const)(
    'have events that say which topic they concern, with a history per %s',
    async (per) => {
      const app = await launch(undefined, { per });
      const watcher = await enter(app, 'red,blue');
      const both = await enter(app, 'red,blue', 'u1');
      const seen = async (client: RawClient) => (await eventsUntil(client, 2)).map(({ data }) => data).toSorted();

      const joinedBoth = [
        '{"topic":"blue","joined":[{"id":"u1"}],"left":[]}',
        '{"topic":"red","joined":[{"id":"u1"}],"left":[]}',
      ];
      expect(await seen(watcher)).toEqual(joinedBoth);
      expect(await seen(both)).toEqual(joinedBoth);
    },
  );

  it('without a topic are members of the hub, and their events have no topic', async () => {
    const { hub, ...app } = await launch(undefined);
    const own = hub.subscribe()[Symbol.asyncIterator]();
    const first = own.next();
    const all = record({ hub, ...app });
    const red = record({ hub, ...app }, 'red');
    hub
      .subscribe({ member: { id: 'u1' } })
      [Symbol.asyncIterator]()
      .next()
      .catch(() => undefined);
    await all.count(1);
    await enter({ hub, ...app }, 'red', 'u2');

    expect(await all.count(2)).toEqual(['+u1', '+u2']);
    expect((await first).value?.data).toEqual({ joined: [{ id: 'u1' }], left: [] });
    expect(await red.count(1)).toEqual(['+u2']);
    expect((await hub.members()).map(({ id }) => id)).toEqual(['u1', 'u2']);
    expect((await hub.members('red')).map(({ id }) => id)).toEqual(['u2']);
  });

  it.each(['log', 'topic'] as const)('do not count for the newest events, with a history per %s', async (per) => {
    const app = await launch(undefined, { per });
    const changes = record(app, 'red');
    await app.hub.publish('first', { topic: 'red' });
    await app.hub.publish('second', { topic: 'red' });
    const client = await enter(app, 'red', 'u1');
    await changes.count(1);
    const iterator = app.hub.subscribe({ topic: 'red', last: 1 })[Symbol.asyncIterator]();

    expect((await iterator.next()).value?.data).toBe('second');
    expect((await iterator.next()).value?.data).toEqual({ topic: 'red', joined: [{ id: 'u1' }], left: [] });
    client.disconnect();
    expect((await iterator.next()).value?.data).toEqual({ topic: 'red', joined: [], left: [{ id: 'u1' }] });
  });

  it('join in few events when many come at once', async () => {
    const app = await launch(undefined);
    const events: number[] = [];
    const members = new Set<string>();
    const watching = (async () => {
      for await (const { data } of app.hub.subscribe({ topic: 'red' })) {
        const { joined } = data as Changes;
        events.push(joined.length);
        for (const { id } of joined) {
          members.add(id);
        }
        if (members.size === 1_000) {
          return;
        }
      }
    })();
    for (let i = 0; i < 1_000; i++) {
      void app.hub
        .subscribe({ topic: 'red', member: { id: `u${i}` } })
        [Symbol.asyncIterator]()
        .next();
    }
    await watching;

    expect(Math.max(...events)).toBeLessThanOrEqual(100);
    expect(events.length).toBeLessThan(100);
    expect(await app.hub.members('red')).toHaveLength(1_000);
  });

  it('need an id, and say little of themselves', async () => {
    const app = await launch(undefined);
    const refused = [{ id: '' }, { id: 'x'.repeat(257) }, { id: 'a\nb' }, { id: 'u1', info: 'x'.repeat(1_023) }];
    for (const member of refused) {
      expect(() => app.hub.subscribe({ topic: 'red', member })).toThrow(
        expect.objectContaining({ code: 'invalid-option', statusCode: 400 }),
      );
    }
    const topic = Array.from({ length: 101 }, (_, i) => `t${i}`);
    expect(() => app.hub.subscribe({ topic, member: { id: 'u1' } })).toThrow('at most 100 topics');
    expect(() => app.hub.subscribe({ member: { id: 'u1', info: 1n } })).toThrow(
      expect.objectContaining({ code: 'not-serializable' }),
    );
    // @ts-expect-error there is no such option
    expect(() => app.hub.subscribe({ member: { id: 'u1', name: 'Ann' } })).toThrow(
      '"member" has an unknown option "name"',
    );
    // @ts-expect-error a member has an id
    expect(() => app.hub.subscribe({ member: {} })).toThrow('The "id" of a member');
    await expect(app.hub.publish({}, { topic: 'red', type: 'members' })).rejects.toMatchObject({
      code: 'invalid-event',
    });
    await expect(app.hub.members('')).rejects.toMatchObject({ code: 'invalid-topic' });
    expect((await fetch(app.url('/rooms/red?id=%07'), { headers: SSE })).status).toBe(400);
    expect(await app.hub.members()).toEqual([]);
  });
});
