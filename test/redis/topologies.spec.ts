import { Cluster, Redis } from 'ioredis';
import { createCluster, createSentinel } from 'redis';
import { createCluster as createOlderCluster } from 'redis-older';
import type { Broker } from '../../lib/index.js';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { runKeysOf } from '../../lib/redis/log-keys.js';
import {
  type BrokerContractSetup,
  brokerContract,
  brokerRunsContract,
  brokerTopicsContract,
} from '../../lib/testing/index.js';
import { range } from '../support/hub.js';
import { RedisServer, startRedisCluster } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 1_000, ttl: 3_600_000 };
/** The cases that use every command. */
const COMMANDS =
  /every field|concurrent publishers|misses no record|second|with `once` once,|loses its records while|several processes|roster|put\(\) with|replaces a log|one after the other|a tail of a run|its log exists|many runs|1 000 logs|a run that the store|1 200 topics|tail of topics|same `once` once|with `all`/;

const casesOf = (setup: BrokerContractSetup) => [
  ...brokerContract(setup),
  ...brokerRunsContract(setup),
  ...brokerTopicsContract(setup),
];

type Options = Pick<RedisBrokerOptions, 'client'>;

describeWith('redis-server')('RedisBroker with a Cluster', () => {
  let nodes: readonly RedisServer[];
  beforeAll(async () => {
    nodes = await startRedisCluster(3, { replicas: true });
  });
  afterAll(() => Promise.all(nodes.map((node) => node.stop())));

  const addresses = (): { host: string; port: number }[] => nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  const rootNodes = (): { url: string }[] => nodes.map(({ url }) => ({ url }));
  const clients: Record<string, () => Options> = {
    redis: () => ({ client: createCluster({ rootNodes: rootNodes() }) }),
    'redis 5': () => ({ client: createOlderCluster({ rootNodes: rootNodes() }) }),
    ioredis: () => ({ client: new Cluster(addresses(), { lazyConnect: true }) }),
  };
  const setup = (name: string, tail: 'read' | 'pubsub') => ({
    create: () => new RedisBroker({ ...clients[name]?.(), tail }),
    shared: true,
    lose: async (log: string) => void (await nodes[0]?.cli('-c', 'del', runKeysOf('ns', log).stream)),
    settle: 200,
  });
  const names = casesOf({ ...setup('', 'read'), create: () => undefined as unknown as Broker })
    .map(({ name }) => name)
    .filter((name) => COMMANDS.test(name));

  describe.each([
    ['redis', 'read'],
    ['redis 5', 'pubsub'],
    ['ioredis', 'read'],
    ['ioredis', 'pubsub'],
  ] as const)('of %s and tail: "%s"', (client, tail) => {
    it.each(names)('%s', async (name) => {
      await casesOf(setup(client, tail))
        .find((each) => each.name === name)
        ?.run();
    });
  });

  it.each(['redis', 'ioredis'])(
    'of %s keeps logs on all servers, and survives a failover of one of them',
    async (name) => {
      const broker = new RedisBroker({ ...clients[name]?.(), timeout: 2_000 });
      const received = new Map<string, number[]>();
      const epochs = new Map<string, Set<string>>();
      const logs = range(1, 6).map((n) => `${name} log ${n}`);
      for (const log of logs) {
        await broker.open(log, RETENTION);
        const tail = await broker.tail(log, (records, position) => {
          received.set(log, [...(received.get(log) ?? []), ...records.map(({ data }) => Number(data))]);
          for (const { epoch } of position ? [position] : records) {
            epochs.get(log)?.add(epoch);
          }
        });
        epochs.set(log, new Set([tail.epoch]));
      }
      await Promise.all(logs.map((log) => broker.append(log, { data: '1', encoding: 'json' })));
      await eventually(() => logs.every((log) => received.get(log)?.length === 1));
      const replica = await replicaOf(nodes);

      await replica.cli('cluster', 'failover', 'takeover');
      await eventually(async () =>
        (await Promise.allSettled(logs.map((log) => broker.append(log, { data: '2', encoding: 'json' })))).every(
          ({ status }) => status === 'fulfilled',
        ),
      );
      await Promise.all(logs.map((log) => broker.append(log, { data: '3', encoding: 'json' })));

      await eventually(() => logs.every((log) => received.get(log)?.at(-1) === 3));
      expect([...epochs.values()].some(({ size }) => size === 2)).toBe(true);
      expect(broker.status()).toMatchObject({ connected: true, behindMs: 0 });
      for (const log of ['not open', ...logs]) {
        await broker.roster.put(log, name.replace(/\W/g, '_'), new Map([['size', 7]]), 60_000);
        expect([...(await broker.roster.list(log, ['size'])).values()]).toContainEqual(new Map([['size', 7]]));
      }
      await broker.close();
    },
  );
});

/** A replica. */
async function replicaOf(nodes: readonly RedisServer[]): Promise<RedisServer> {
  for (const node of nodes) {
    if (
      (await node.cli('role')).startsWith('slave') &&
      (await node.cli('info', 'replication')).includes('master_link_status:up')
    ) {
      return node;
    }
  }
  return replicaOf(nodes);
}

describeWith('redis-server')('RedisBroker with Sentinels', () => {
  it.each(['redis', 'ioredis'])('of %s connects although the first of them does not answer', async (driver) => {
    const master = await RedisServer.start();
    const sentinels = await Promise.all([RedisServer.sentinel(master), RedisServer.sentinel(master)]);
    const addresses = sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
    sentinels[0]?.freeze();
    const client =
      driver === 'redis'
        ? createSentinel({ name: 'main', sentinelRootNodes: addresses })
        : new Redis({ name: 'main', sentinels: addresses, lazyConnect: true });
    const broker = new RedisBroker({ client, timeout: 3_000 });

    await broker.open('log', RETENTION);

    expect(await broker.append('log', { data: '1', encoding: 'json' })).toMatchObject({ offset: 1 });
    await broker.close();
    await Promise.all([master, ...sentinels].map((server) => server.stop()));
  });

  it.each([
    ['redis', (port: number) => createSentinel({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port }] })],
    [
      'ioredis',
      (port: number) => new Redis({ name: 'main', sentinels: [{ host: '127.0.0.1', port }], lazyConnect: true }),
    ],
  ] as const)('of %s appends to the new master after a failover, in another epoch', async (_, clientOf) => {
    const master = await RedisServer.start();
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', `${master.port}`);
    const sentinel = await RedisServer.sentinel(master);
    await eventually(async () => (await sentinel.cli('sentinel', 'replicas', 'main')).includes(`${replica.port}`));
    const broker = new RedisBroker({ client: clientOf(sentinel.port), timeout: 2_000 });
    await broker.open('log', RETENTION);
    const epochs: string[] = [];
    const received: string[] = [];
    await broker.tail('log', (records, position) => {
      epochs.push(...(position ? [position.epoch] : []));
      received.push(...records.map(({ data }) => data));
    });
    const { epoch } = await broker.append('log', { data: '1', encoding: 'json' });
    await eventually(() => received.length === 1);

    await master.kill();
    let after = { epoch, offset: 0 };
    await eventually(async () => {
      after = await broker.append('log', { data: '2', encoding: 'json' }).catch(() => after);
      return after.epoch !== epoch;
    });

    await eventually(() => received.includes('2'));
    expect(epochs).toEqual([after.epoch]);
    expect(await replica.cli('xlen', 'ns:{log}')).toBe('1');
    await broker.close();
    await Promise.all([master, replica, sentinel].map((server) => server.stop()));
  });
});
