import { readFileSync } from 'node:fs';
import { Cluster, Redis } from 'ioredis';
import { createClient, createCluster } from 'redis';
import type { BrokerEntry, BrokerPosition, BrokerRecord } from '../../lib/index.js';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { slotOf } from '../../lib/redis/log-keys.js';
import { range } from '../support/hub.js';
import { freePort } from '../support/nginx.js';
import { RedisServer, startRedisCluster } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { CLIENTS } from './clients.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const LONG_MS = 600_000;
const LOG = '~runs/answers/a';
const KEY = 'ns:{~runs/answers}/a';
const [, ACL = ''] =
  /^```text\n(user ns .*)\n```$/m.exec(readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8')) ?? [];

function entries(first: number, last = first): BrokerEntry[] {
  return range(first, last).map((n) => ({ data: `${n}`, encoding: 'json' }));
}

function dataOf(records: readonly BrokerRecord[]): number[] {
  return records.map(({ data }) => Number(data));
}

describeWith('redis-server')('The logs of runs in Redis', () => {
  let server: RedisServer;
  const brokers: RedisBroker[] = [];
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());
  afterEach(async () => {
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    await server.cli('config', 'set', 'maxmemory', '0');
    await server.cli('flushall');
  });

  function brokerWith(options: RedisBrokerOptions = {}): RedisBroker {
    const broker = new RedisBroker(options.client ? options : { url: server.url, ...options });
    brokers.push(broker);
    return broker;
  }

  /** Creates the log with one record, and tails it. Returns what the tail receives. */
  async function begin(broker: RedisBroker): Promise<{ received: number[]; end: BrokerPosition }> {
    const end = await broker.create(LOG, entries(1), LONG_MS);
    const received: number[] = [];
    await broker.tail(LOG, (records) => void received.push(...dataOf(records)));
    return { received, end: end || { epoch: '', offset: 0 } };
  }

  const connectionsOf = async (): Promise<string[]> =>
    (await server.cli('client', 'list')).split('\n').filter((line) => !line.includes('cmd=client'));
  const channels = async (): Promise<string[]> =>
    (await server.cli('pubsub', 'shardchannels')).split('\n').filter((channel) => !channel.includes(':wake:'));

  it('are one stream for each, in the slot of its registration, which expires', async () => {
    const broker = brokerWith();
    await broker.create(LOG, entries(1, 2), LONG_MS);
    await broker.create('~runs/answers/}{', entries(1), LONG_MS);
    await broker.create('~runs/other/a', entries(1), LONG_MS);

    const keys = (await server.cli('keys', '*')).split('\n').toSorted();
    expect(keys).toEqual([KEY, 'ns:{~runs/answers}/}{', 'ns:{~runs/other}/a']);
    expect(new Set(keys.slice(0, 2).map(slotOf)).size).toBe(1);
    expect(Number(await server.cli('pttl', KEY))).toBeGreaterThan(LONG_MS - 60_000);
    expect(await server.cli('xlen', KEY)).toBe('2');
  });

  it('use one connection for commands, and one for all tails, which subscribes only to logs with a tail', async () => {
    const broker = brokerWith();
    const tails = await Promise.all(range(1, 100).map((n) => broker.tail(`~runs/answers/${n}`, () => undefined)));
    const again = await broker.tail('~runs/answers/1', () => undefined);

    expect(await connectionsOf()).toHaveLength(2);
    expect(await channels()).toHaveLength(100);
    expect(broker.status()).toMatchObject({ connected: true, behindMs: 0 });

    await Promise.all(tails.map((tail) => tail.stop()));
    await eventually(async () => (await channels()).length === 1);
    expect(await channels()).toEqual(['ns:{~runs/answers}/1']);
    await again.stop();
    await eventually(async () => (await channels()).join() === '');
  });

  it.each(Object.keys(CLIENTS) as (keyof typeof CLIENTS)[])(
    'are received by a tail that begins as soon as another one has ended (%s)',
    async (client) => {
      const broker = brokerWith(CLIENTS[client](server.url));
      await broker.create(LOG, entries(1), LONG_MS);
      for (const n of range(2, 40)) {
        const received: number[] = [];
        const tail = await broker.tail(LOG, (records) => void received.push(...dataOf(records)));
        await broker.appendAll(LOG, entries(n));
        await eventually(() => received.length === 1);
        expect(received).toEqual([n]);
        await tail.stop();
      }
    },
  );

  it('have no subscription left when tails begin and end at the same time', async () => {
    const broker = brokerWith();

    await Promise.all(
      range(1, 100).map(async (n) => (await broker.tail(`~runs/answers/${n % 7}`, () => undefined)).stop()),
    );

    await eventually(async () => (await channels()).join() === '');
  });

  it('are read, and not sent in messages, if an append has more than 64 KiB', async () => {
    const broker = brokerWith();
    const { end, received } = await begin(broker);
    const messages: string[] = [];
    const subscriber = new Redis(server.port);
    subscriber.on('smessage', (_channel: string, message: string) => void messages.push(message));
    await subscriber.ssubscribe(KEY);

    await broker.appendAll(LOG, [{ data: '2'.padStart(70_000), encoding: 'text' }, ...entries(3)]);
    await broker.appendAll(LOG, entries(4));

    await eventually(() => received.length === 3 && messages.length === 2);
    expect(received).toEqual([2, 3, 4]);
    expect(messages[0]).toBe(`"${end.epoch}-3"`);
    expect(messages[1]?.startsWith(`[["${end.epoch}-4","d","4"`)).toBe(true);
    subscriber.disconnect();
  });

  it('keep the order of calls when Redis has forgotten its scripts', async () => {
    const broker = brokerWith();
    const { received } = await begin(broker);
    await broker.appendAll(LOG, entries(2));

    const before = range(3, 20).map((n) => broker.appendAll(LOG, entries(n)));
    await server.cli('script', 'flush');
    const after = range(21, 40).map((n) => broker.appendAll(LOG, entries(n)));

    const positions = await Promise.all([...before, ...after]);
    expect(positions.map((position) => position !== false && position.offset)).toEqual(range(3, 40));
    await eventually(() => received.length === 39);
    expect(received).toEqual(range(2, 40));
    expect(dataOf(await broker.read(LOG, 0, 100))).toEqual(range(1, 40));
  });

  it('change in nothing if Redis refuses a call because its memory is full', async () => {
    const broker = brokerWith();
    const { end } = await begin(broker);
    await server.cli('config', 'set', 'maxmemory', '1');

    const refused = { code: 'broker-unavailable', statusCode: 503, message: expect.stringContaining('OOM') as string };
    await expect(broker.appendAll(LOG, entries(2, 3))).rejects.toMatchObject(refused);
    await expect(broker.create('~runs/answers/b', entries(2, 3), LONG_MS)).rejects.toMatchObject(refused);
    expect(await broker.expire(LOG, LONG_MS)).toBe(true);
    await server.cli('config', 'set', 'maxmemory', '0');

    expect(dataOf(await broker.read(LOG, 0, 10))).toEqual([1]);
    expect(await broker.read('~runs/answers/b', 0, 10)).toEqual([]);
    expect(await broker.appendAll(LOG, entries(2), { after: end })).toMatchObject({ offset: 2 });
  });

  it('continue once the server is no replica any more, and do not connect all the time until then', async () => {
    const broker = brokerWith({ timeout: 3_000 });
    const { received, end } = await begin(broker);
    const connections = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await server.cli('info', 'stats'))?.[1]);
    const before = await connections();
    await server.cli('replicaof', '127.0.0.1', '1');

    const late = await broker.appendAll(LOG, entries(2)).catch((error: unknown) => error);
    expect((await connections()) - before).toBeLessThan(30);
    const waiting = broker.appendAll(LOG, entries(3));
    await server.cli('replicaof', 'no', 'one');

    expect(late).toMatchObject({ code: 'broker-unavailable', message: expect.stringContaining('READONLY') as string });
    expect(await waiting).toEqual({ ...end, offset: 2 });
    await eventually(() => received.length === 1);
    expect(received).toEqual([3]);
  });

  it('continue after a restart of Redis in which nothing was lost', async () => {
    const lasting = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always');
    const broker = brokerWith({ client: new Redis(lasting.port, { lazyConnect: true }) });
    const { received, end } = await begin(broker);
    await broker.appendAll(LOG, entries(2, 3), { after: end });
    await eventually(() => received.length === 2);

    await lasting.restart('--appendonly', 'yes', '--appendfsync', 'always');

    let written: BrokerPosition | false = false;
    await eventually(async () => {
      written = await broker.appendAll(LOG, entries(4), { after: { ...end, offset: 3 } }).catch(() => false as const);
      return written !== false;
    });
    expect(written).toMatchObject({ epoch: end.epoch, offset: 4 });
    await eventually(() => received.length === 3);
    expect(received).toEqual([2, 3, 4]);
    await broker.close();
    await lasting.stop();
  });

  it('can be tailed again after Redis has refused a subscription', async () => {
    const broker = brokerWith({ timeout: 2_000 });
    await begin(broker);
    await server.cli('acl', 'setuser', 'default', '-ssubscribe');
    await server.cli('client', 'kill', 'type', 'pubsub');
    const received: number[] = [];
    const refused = broker.tail('~runs/answers/b', (records) => void received.push(...dataOf(records)));
    await expect(refused).rejects.toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringContaining("'ssubscribe'") as string,
    });
    await server.cli('acl', 'setuser', 'default', '+ssubscribe');

    await broker.create('~runs/answers/b', entries(1), LONG_MS);
    const tail = await broker.tail('~runs/answers/b', (records) => void received.push(...dataOf(records)));
    expect(tail).toMatchObject({ offset: 1 });
    await broker.appendAll('~runs/answers/b', entries(2));
    await eventually(() => received.length === 1);
    expect(received).toEqual([2]);
  });

  it('reject the first call if the user may not use a command, and say which', async () => {
    const [, name, ...rules] = ACL.replace(' +client|setinfo', '').split(' ');
    const client = new Redis(`redis://${name}:secret@127.0.0.1:${server.port}`, { lazyConnect: true });
    const failureWith = async (rule: string): Promise<string> => {
      await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules, rule);
      const broker = brokerWith({ client, timeout: 30_000 });
      const begun = broker.create(LOG, entries(1), LONG_MS).then(() => broker.tail(LOG, () => undefined));
      const error = await begun.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      await broker.drop(LOG).catch(() => undefined);
      expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
      return (error as Error).message;
    };

    for (const command of [
      ...['time', 'xlen', 'xrange', 'xadd', 'pexpire', 'unlink', 'eval', 'evalsha'],
      ...['spublish', 'ssubscribe', 'sunsubscribe'],
    ]) {
      expect((await failureWith(`-${command}`)).toLowerCase()).toContain(`'${command}'`);
    }
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules);
    const other = brokerWith({ client, prefix: 'other' });
    await expect(other.create(LOG, entries(1), LONG_MS)).rejects.toThrow('NOPERM');
  });

  it.each(['redis', 'ioredis'])('work with the permissions of the guide (%s)', async (driver) => {
    const [, name, ...rules] = ACL.replace(' +client|setinfo', '').split(' ');
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules);
    const url = `redis://${name}:secret@127.0.0.1:${server.port}`;
    const broker = brokerWith({
      client: driver === 'redis' ? createClient({ url }) : new Redis(url, { lazyConnect: true }),
    });

    const { received, end } = await begin(broker);
    const replaced = await broker.create(LOG, entries(1), LONG_MS, { after: end });
    await broker.appendAll(LOG, entries(2));
    expect(replaced).not.toBe(false);
    await eventually(() => received.length === 2);
    expect(await broker.expire(LOG, LONG_MS)).toBe(true);
    await broker.drop(LOG);
    expect(await broker.read(LOG, 0, 1)).toEqual([]);
  });

  it('reject in time if Redis cannot be reached, and at once if the broker is closed', async () => {
    const broker = brokerWith({ url: `redis://127.0.0.1:${await freePort()}`, timeout: 300 });
    const failure = { code: 'broker-unavailable', statusCode: 503 };
    const calls = (): Promise<unknown>[] => [
      broker.create(LOG, entries(1), LONG_MS),
      broker.appendAll(LOG, entries(1)),
      broker.expire(LOG, LONG_MS),
      broker.drop(LOG),
      broker.read(LOG, 0, 1),
      broker.tail(LOG, () => undefined),
    ];
    for (const call of calls()) {
      await expect(call).rejects.toMatchObject(failure);
    }
    expect(broker.status().connected).toBe(false);

    await broker.close();
    for (const call of calls()) {
      await expect(call).rejects.toMatchObject({
        ...failure,
        message: expect.stringContaining('the broker is closed') as string,
      });
    }
  });
});

describeWith('redis-server')('The logs of runs in a Redis Cluster', () => {
  let nodes: readonly RedisServer[];
  beforeAll(async () => {
    nodes = await startRedisCluster(3);
  });
  afterAll(() => Promise.all(nodes.map((node) => node.stop())));

  /** Moves the slot of the logs to another server. */
  async function moveSlot(): Promise<void> {
    const slot = `${slotOf(KEY)}`;
    const ids = await Promise.all(nodes.map((node) => node.cli('cluster', 'myid')));
    const counts = await Promise.all(nodes.map((node) => node.cli('cluster', 'countkeysinslot', slot)));
    const from = counts.findIndex((count) => Number(count) > 0);
    const to = (from + 1) % nodes.length;
    const [source, target] = [nodes[from], nodes[to]];
    await target?.cli('cluster', 'setslot', slot, 'importing', `${ids[from]}`);
    await source?.cli('cluster', 'setslot', slot, 'migrating', `${ids[to]}`);
    const keys = (await source?.cli('cluster', 'getkeysinslot', slot, '1000'))?.split('\n').filter(Boolean) ?? [];
    await source?.cli('migrate', '127.0.0.1', `${target?.port}`, '', '0', '5000', 'keys', ...keys);
    for (const node of [target, source, ...nodes]) {
      await node?.cli('cluster', 'setslot', slot, 'node', `${ids[to]}`);
    }
  }

  it.each([
    ['redis', () => createCluster({ rootNodes: nodes.map(({ url }) => ({ url })) })],
    [
      'ioredis',
      () =>
        new Cluster(
          nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
          { lazyConnect: true },
        ),
    ],
  ])(
    'share two connections for each registration, and continue when their slot has moved (%s)',
    async (_, clientOf) => {
      const broker = new RedisBroker({ client: clientOf(), timeout: 3_000 });
      const connections = async (): Promise<number> => {
        const lists = await Promise.all(nodes.map((node) => node.cli('client', 'list')));
        return lists
          .join('\n')
          .split('\n')
          .filter((line) => /cmd=(?:eval|evalsha|ssubscribe|sunsubscribe|ping|spublish)\b/.test(line)).length;
      };
      const logs = range(1, 200).map((n) => `~runs/answers/${n}`);
      const viewer = new RedisBroker({ client: clientOf(), timeout: 3_000 });
      const viewed: number[] = [];
      const received = new Map<string, number[]>();
      for (const log of logs) {
        await broker.create(log, entries(1), LONG_MS);
        received.set(log, []);
        await broker.tail(log, (records) => void received.get(log)?.push(...dataOf(records)));
      }
      await Promise.all(logs.map((log) => broker.appendAll(log, entries(2))));
      await eventually(() => logs.every((log) => received.get(log)?.length === 1));
      expect(await connections()).toBe(2);
      await viewer.tail(logs[0] ?? '', (records) => void viewed.push(...dataOf(records)));

      await moveSlot();
      await Promise.all(logs.map((log) => broker.appendAll(log, entries(3))));
      await Promise.all(logs.map((log) => broker.appendAll(log, entries(4))));

      await eventually(() => logs.every((log) => received.get(log)?.length === 3));
      expect(new Set([...received.values()].map((each) => each.join()))).toEqual(new Set(['2,3,4']));
      // This process sends no command that Redis could answer with MOVED, but looks for its logs every few seconds.
      await eventually(() => viewed.length === 2);
      await broker.appendAll(logs[0] ?? '', entries(5));
      await eventually(() => viewed.length === 3);
      expect(viewed).toEqual([3, 4, 5]);
      await Promise.all(logs.map((log) => broker.drop(log)));
      await Promise.all([broker.close(), viewer.close()]);
    },
  );
});
