import { Controller, Param, Req, UseGuards } from '@nestjs/common';
import { ANSWER, Cluster } from '../../lib/cluster/cluster.js';
import { ROUND } from '../../lib/cluster/sheet.js';
import {
  type Broker,
  type BrokerEntry,
  type BrokerListener,
  type BrokerRetention,
  type BrokerRoster,
  Hub,
  InjectHub,
  MemoryBroker,
  Sse,
  Stream,
  type StreamHooks,
  StreamingModule,
} from '../../lib/index.js';
import { SharedRoster } from '../contract/shared-roster.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { hubOf, joined, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, useApps } from '../support/running.js';
import { describeSharedBrokers } from '../support/shared-brokers.js';

interface Request {
  readonly params: { readonly user: string };
}

const NEVER = new Promise<never>(() => undefined);
let guarded = deferred();
let passing = deferred();

/** The requests for which the guard of later checks was called. */
const checked = new Recorder();

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub) {}

  @Sse('topics/:topic')
  topic(@Param('topic') topic: string) {
    return this.hub.subscribe(topic === 'all' ? {} : { topic });
  }

  @Stream('users/:user', { format: 'ndjson', labels: ({ params }: Request) => ({ user: params.user }) })
  async *user() {
    yield 'x';
    await NEVER;
  }

  @Stream('checked/:user', {
    format: 'ndjson',
    labels: ({ params }: Request) => ({ user: params.user }),
    reauthorize: {
      every: 60_000,
      guards: [
        {
          canActivate(context) {
            checked.add(context.switchToHttp().getRequest<{ url: string }>().url);
            return false;
          },
        },
      ],
    },
  })
  async *checked() {
    yield 'x';
    await NEVER;
  }

  @UseGuards({
    async canActivate() {
      guarded.resolve();
      await passing.promise;
      return true;
    },
  })
  @Stream('guarded/:user', { format: 'ndjson', labels: ({ params }: Request) => ({ user: params.user }) })
  async *guarded(@Req() _request: unknown) {
    yield 'x';
    await NEVER;
  }
}

/** A broker that can be made unable to do anything. */
class BreakableBroker implements Broker {
  /** Returns the results of all methods. */
  broken: (() => Promise<never>) | undefined;
  readonly roster: BrokerRoster | undefined;

  constructor(private readonly broker: Broker) {
    const { roster } = broker;
    this.roster = roster && {
      put: async (...args) => this.broken?.() ?? roster.put(...args),
      list: async (...args) => this.broken?.() ?? roster.list(...args),
    };
  }

  async open(log: string, retention: BrokerRetention) {
    return this.broker.open(log, retention);
  }

  async append(log: string, entry: BrokerEntry) {
    return this.broken?.() ?? this.broker.append(log, entry);
  }

  async tail(log: string, listener: BrokerListener) {
    return this.broker.tail(log, (records, position) => {
      if (!this.broken) {
        listener(records, position);
      }
    });
  }

  async read(log: string, after: number, count: number) {
    return this.broken?.() ?? this.broker.read(log, after, count);
  }

  close() {
    return this.broker.close();
  }
}

/** How the streams of all applications of a test ended. */
const ended = new Recorder();
const hooks: StreamHooks = { onClose: (_, { code }) => ended.add(code) };

beforeAll(() => {
  ROUND.ms = 300;
});

const { ms } = ANSWER;

beforeEach(() => {
  ANSWER.ms = ms;
  guarded = deferred();
  passing = deferred();
  ended.seen.splice(0);
});

type Process = RunningApp & { readonly hub: Hub };

function useProcesses(platform: Platform) {
  const launch = useApps();
  return async (broker: Broker | undefined): Promise<Process> => {
    const app = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { hooks, ...(broker && { broker }) },
    });
    return { ...app, hub: hubOf(app) };
  };
}

async function watch(app: Process, topic: string): Promise<RawClient> {
  const size = app.hub.size() + 1;
  const client = await app.get(`/topics/${topic}`, { ...SSE, Connection: 'close' });
  await joined(app.hub, size);
  return client;
}

async function openFor(app: Process, user: string): Promise<RawClient> {
  const client = await app.get(`/users/${user}`, { Connection: 'close' });
  await client.until('"x"\n');
  return client;
}

/** Waits until a hub counts a number of subscribers. */
async function counts(hub: Hub, expected: number, topic?: string): Promise<void> {
  while ((await hub.count(topic)) !== expected) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.each(PLATFORMS)('%s, processes that share', (platform) => {
  const launch = useProcesses(platform);

  // The servers do not know platforms.
  describeSharedBrokers({ servers: platform === 'fastify' }, (start) => {
    it('count the subscribers of a hub in all of them, also those of a topic', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      await Promise.all([watch(a, 'red'), watch(b, 'red').then(() => watch(b, 'blue'))]);
      await watch(b, 'all');

      expect(await a.hub.count()).toBe(4);
      expect(await a.hub.count('red')).toBe(3);
      expect(await a.hub.count('blue')).toBe(2);
      expect(await a.hub.count('green')).toBe(1);
      expect([await b.hub.count(), await b.hub.count('red')]).toEqual([4, 3]);
      expect([a.hub.size(), b.hub.size()]).toEqual([1, 3]);
    });

    it('count those of a process that has started later, and no longer those of a process that was closed', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      await watch(a, 'red');
      await watch(b, 'red');
      expect(await a.hub.count('red')).toBe(2);

      const c = await launch(brokerOf());
      await watch(c, 'red');
      await counts(a.hub, 3, 'red');

      await b.close();
      await counts(a.hub, 2, 'red');
    });

    it('count subscribers that come and go, some seconds later', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const client = await watch(b, 'red');
      expect(await a.hub.count()).toBe(1);

      await watch(b, 'blue');
      client.disconnect();

      await counts(a.hub, 1, 'blue');
      await counts(a.hub, 0, 'red');
      await counts(a.hub, 1);
    }, 60_000);

    it('count no subscribers that have left while a process could not reach its broker', async () => {
      const brokerOf = start();
      const broker = new BreakableBroker(brokerOf());
      const [a, b] = [await launch(brokerOf()), await launch(broker)];
      const client = await watch(b, 'red');
      await watch(b, 'blue');
      expect(await a.hub.count('red')).toBe(1);

      const failed = deferred();
      broker.broken = () => {
        failed.resolve();
        return Promise.reject(new Error('The store is down'));
      };
      client.disconnect();
      await joined(b.hub, 1);
      await failed.promise;
      broker.broken = undefined;

      await counts(a.hub, 0, 'red');
      expect(await a.hub.count('blue')).toBe(1);
    }, 60_000);

    it('close the streams with labels in all of them', async () => {
      const brokerOf = start();
      const processes = [await launch(brokerOf()), await launch(brokerOf()), await launch(brokerOf())] as const;
      const [a, b, c] = processes;
      const gone = await Promise.all([openFor(a, 'u1'), openFor(b, 'u1'), openFor(b, 'u1')]);
      const stays = await openFor(c, 'u2');

      expect(await a.registry.close({ user: 'u1' }, { everywhere: true })).toBe(3);

      await Promise.all(gone.map((client) => client.closed()));
      expect(ended.seen).toEqual(['server-closed', 'server-closed', 'server-closed']);
      expect(processes.map(({ registry }) => registry.size)).toEqual([0, 0, 1]);
      expect(stays.socket.destroyed).toBe(false);
      expect(await c.registry.close({ user: 'u1' }, { everywhere: true })).toBe(0);
      expect(await a.registry.close({ user: 'u2' })).toBe(0);
      expect(await a.registry.close({ user: 'u2' }, { everywhere: true })).toBe(1);
    });

    it('refuse a stream that was closed in another of them while its request was on its way to the handler', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const response = fetch(b.url('/guarded/u1'));
      await guarded.promise;

      expect(await a.registry.close({ user: 'u1' }, { everywhere: true })).toBe(0);
      passing.resolve();

      expect((await response).status).toBe(503);
    });

    it('close streams with a code in all of them, and check those of a process that has started later', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const client = await openFor(b, 'u1');
      checked.seen.splice(0);

      expect(await a.registry.close({ user: 'u1' }, { code: 'revoked', everywhere: true })).toBe(1);
      await client.closed();
      const c = await launch(brokerOf());
      await watch(c, 'red');
      // It counts after it has executed the older commands.
      await counts(a.hub, 1, 'red');
      await openFor(c, 'u2');
      expect(checked.seen).toEqual([]);
      const refused = await fetch(c.url('/checked/u1'));

      expect(ended.seen[0]).toBe('revoked');
      expect(client.body).toMatch(/^"x"\n\{"error":\{"statusCode":401,.*\}\}\n$/);
      expect(refused.status).toBe(403);
      expect(checked.seen).toEqual(['/checked/u1']);
    });

    it('wait a limited time for one that does not answer, and count the others', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const broker = new BreakableBroker(brokerOf());
      const hung = await launch(broker);
      await openFor(b, 'u1');
      await watch(b, 'red');
      await openFor(hung, 'u1');
      await watch(hung, 'red');
      broker.broken = () => NEVER;

      const results = await Promise.all([a.registry.close({ user: 'u1' }, { everywhere: true }), a.hub.count()]);

      expect(results).toEqual([1, 1]);
      expect(hung.registry.size).toBe(2);
    }, 60_000);

    it('close what another has closed while they were not connected, as soon as they are again', async () => {
      const brokerOf = start();
      const broker = new BreakableBroker(brokerOf());
      const [a, b] = [await launch(brokerOf()), await launch(broker)];
      const client = await openFor(b, 'u1');
      broker.broken = () => Promise.reject(new Error('The store is down'));
      // Nobody answers.
      ANSWER.ms = 100;

      expect(await a.registry.close({ user: 'u1' }, { everywhere: true })).toBe(0);
      expect(b.registry.size).toBe(1);
      broker.broken = undefined;
      await a.registry.close({ user: 'u2' }, { everywhere: true });

      await client.closed();
      expect(ended.seen).toEqual(['server-closed']);
    }, 60_000);

    it('skip records that are no messages in their logs, with a warning for each, and receive what follows', async () => {
      const brokerOf = start();
      const [a, b] = [await launch(brokerOf()), await launch(brokerOf())];
      const stranger = brokerOf();
      const records = [
        { data: '{"do":"close",', encoding: 'json' },
        { data: 'null', encoding: 'json' },
        { data: 'no JSON', encoding: 'text' },
        { data: 'AAEC', encoding: 'base64' },
      ] as const;
      for (const log of ['~control', '~roster']) {
        await stranger.open(log, { limit: 10_000, ttl: 60_000 });
        await Promise.all(records.map((record) => stranger.append(log, record)));
      }
      await stranger.close();
      await openFor(b, 'u1');
      await watch(b, 'red');

      expect(await a.hub.count('red')).toBe(1);
      expect(await a.registry.close({ user: 'u1' }, { everywhere: true })).toBe(1);
      // The logger of Nest belongs to the last application that was created, and has the warnings of both.
      const skipped = b.logs.of('warn').filter((text) => text.includes('"~control" is invalid, and was skipped'));
      expect(skipped).toHaveLength(2 * records.length);
    });

    it('warn once while they cannot store their figures, and not when they close', async () => {
      const brokerOf = start();
      const warnings = ({ logs }: Process) =>
        logs.of('warn').filter((text) => text.includes('the figures of processes'));
      const down = new BreakableBroker(brokerOf());
      const closed = await launch(down);
      down.broken = () => Promise.reject(new Error('The store is down'));
      await closed.close();
      expect(warnings(closed)).toEqual([]);

      const broker = new BreakableBroker(brokerOf());
      const warned = await launch(broker);
      await watch(warned, 'red');
      broker.broken = () => Promise.reject(new Error('The store is down'));
      await expect(warned.registry.close({ user: 'u1' }, { everywhere: true })).rejects.toThrow('The store is down');
      await expect(warned.hub.count()).rejects.toThrow('The store is down');
      await warned.close();
      expect(warnings(warned).length).toBeLessThanOrEqual(1);
    });

    it('pass on the error of their broker, and close their own streams', async () => {
      const brokerOf = start();
      const broker = new BreakableBroker(brokerOf());
      const [a, b] = [await launch(broker), await launch(brokerOf())];
      const client = await openFor(a, 'u1');
      await openFor(b, 'u1');
      broker.broken = () => Promise.reject(new Error('The store is down'));

      await expect(a.registry.close({ user: 'u1' }, { everywhere: true })).rejects.toThrow('The store is down');
      await expect(a.hub.count()).rejects.toThrow('The store is down');

      await client.closed();
      expect([a.registry.size, b.registry.size]).toEqual([0, 1]);
    });
  });

  it('no broker are alone: each counts and closes only what it has', async () => {
    for (const broker of [undefined, new MemoryBroker()]) {
      const [a, b] = [await launch(broker), await launch(undefined)];
      await watch(a, 'red');
      await openFor(a, 'u1');
      await openFor(b, 'u1');

      expect(await a.hub.count()).toBe(1);
      expect(await a.hub.count('red')).toBe(1);
      expect(await a.registry.close({ user: 'u1' }, { everywhere: true })).toBe(1);
      expect(b.registry.size).toBe(1);
    }
  });

  it('a broker cannot close by a function: a process calls only its own', async () => {
    const { registry } = await launch(undefined);

    // @ts-expect-error a function cannot be sent to other processes
    const closed = registry.close(() => true, { everywhere: true });

    await expect(closed).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('Close by labels') as string,
    });
    // @ts-expect-error there is no such option
    await expect(registry.close({ user: 'u1' }, { everywhre: true })).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringContaining('Did you mean "everywhere"?') as string,
    });
  });
});

it('A hub may not have the name of a log of the package', () => {
  expect(() => StreamingModule.registerHub({ name: '~control' })).toThrow(
    expect.objectContaining({
      code: 'invalid-option',
      message: expect.stringContaining('must not begin with "~"') as string,
    }),
  );
});

it('A process that has left the roster of its broker does not come back to it to answer a late command', async () => {
  const roster = new SharedRoster();
  const broker = Object.assign(new MemoryBroker(), { roster });
  const join = (): Promise<Cluster> =>
    Cluster.join(
      broker,
      () => undefined,
      () => undefined,
    );
  const [one, other] = [await join(), await join()];
  const { put } = roster;
  const late = deferred();
  roster.put = async (...args) => {
    const known = await put.apply(roster, args);
    const [, , , ttl] = args;
    if (ttl === 0) {
      roster.put = put;
      void other.closeElsewhere({ user: 'u1' }, 'server-closed');
      await late.promise;
    }
    return known;
  };
  one.closeStreams = () => {
    late.resolve();
    return 0;
  };

  await one.leave();
  await other.leave();

  expect((await roster.list('~control', [])).size).toBe(0);
});
