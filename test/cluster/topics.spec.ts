import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from 'ioredis';
import { createCluster } from 'redis';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { RedisServer, startRedisCluster } from '../support/redis-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { overlapping } from './overlapping.js';
import { redisBroker } from './scene.js';
import { TopicLoad } from './topic.load.js';

const HUB = 'ns:{feed}';
const ALWAYS = ['--appendonly', 'yes', '--appendfsync', 'always'];

interface World {
  readonly server: RedisServer;
  readonly proxy: TcpProxy;
  readonly load: TopicLoad;
}

interface Fault {
  readonly name: string;
  /** How many times every topic of every follower may have lost records. */
  readonly resets: 0 | 1;
  readonly server?: readonly string[];
  readonly options?: Partial<RedisBrokerOptions>;
  run(world: World): Promise<unknown>;
}

async function crash({ server }: World): Promise<void> {
  await server.kill();
  await server.restart();
}

async function suspend(server: RedisServer, ms: number): Promise<void> {
  server.freeze();
  await sleep(ms);
  server.thaw();
}

const FAULTS: readonly Fault[] = [
  { name: 'crashes, and starts again without data', resets: 1, run: crash },
  {
    name: 'crashes, and starts again with an older snapshot',
    resets: 1,
    server: ['--save', '3600 1'],
    run: async ({ server, load }) => {
      await server.cli('SAVE');
      await load.delivering();
      await server.kill();
      await server.restart();
    },
  },
  {
    name: 'crashes, and starts again from its append-only file',
    resets: 1,
    server: ['--appendonly', 'yes', '--appendfsync', 'everysec'],
    run: crash,
  },
  {
    name: 'crashes, and starts again from its append-only file that contains everything, with trustRestarts',
    resets: 0,
    server: ALWAYS,
    options: { trustRestarts: true },
    run: crash,
  },
  { name: 'loses all keys by FLUSHALL', resets: 1, run: ({ server }) => server.cli('FLUSHALL') },
  { name: 'loses the stream of the hub', resets: 1, run: ({ server }) => server.cli('DEL', HUB) },
  { name: 'loses the index of topics', resets: 0, run: ({ server }) => server.cli('DEL', `${HUB}:topics`) },
  { name: 'is suspended for 3 seconds', resets: 0, run: ({ server }) => suspend(server, 3_000) },
  { name: 'is suspended for 7 seconds', resets: 0, run: ({ server }) => suspend(server, 7_000) },
  {
    name: 'closes all connections (CLIENT KILL)',
    resets: 0,
    run: async ({ server }) => {
      for (const type of ['normal', 'pubsub']) {
        await server.cli('CLIENT', 'KILL', 'TYPE', type);
      }
    },
  },
  { name: 'receives nothing more on open connections (half-open)', resets: 0, run: async ({ proxy }) => proxy.drop() },
  {
    name: 'cannot be reached, and no connection is closed',
    resets: 0,
    run: async ({ proxy }) => {
      proxy.partition();
      await sleep(7_000);
      proxy.heal();
    },
  },
  { name: 'forgets its scripts (SCRIPT FLUSH)', resets: 0, run: ({ server }) => server.cli('SCRIPT', 'FLUSH') },
  {
    name: 'refuses writes as a replica (READONLY)',
    resets: 0,
    run: async ({ server }) => {
      await server.cli('REPLICAOF', '127.0.0.1', '1');
      await sleep(2_000);
      await server.cli('REPLICAOF', 'NO', 'ONE');
    },
  },
  {
    name: 'has no memory left (OOM)',
    resets: 0,
    run: async ({ server }) => {
      await server.cli('CONFIG', 'SET', 'maxmemory', '1');
      await sleep(500);
      await server.cli('CONFIG', 'SET', 'maxmemory', '0');
    },
  },
];

async function check({ name, resets, server: settings = [], options, run }: Fault): Promise<void> {
  const server = await RedisServer.start(...settings);
  const proxy = await TcpProxy.start(server.port);
  const brokers = [redisBroker(proxy.url, false, options), redisBroker(proxy.url, true, options)];
  try {
    const load = await TopicLoad.start(brokers);
    await load.delivering();
    await run({ server, proxy, load });
    await load.delivering();
    expectOutcome(await load.verdict(), resets);
  } catch (error) {
    throw new Error(`Redis ${name}: ${error}`, { cause: error });
  } finally {
    await Promise.all(brokers.map((broker) => broker.close()));
    await proxy.stop();
    await server.stop();
  }
}

function expectOutcome(verdict: Awaited<ReturnType<TopicLoad['verdict']>>, resets: 0 | 1): void {
  expect(verdict.faults).toEqual([]);
  expect(verdict.resets.map((each) => [...new Set(each)])).toEqual(verdict.resets.map(() => [resets]));
}

/** A replica takes over the address of its master, without the newest records. */
async function promote(): Promise<void> {
  const master = await RedisServer.start();
  const replica = await RedisServer.start('--replicaof', `127.0.0.1 ${master.port}`);
  while (!(await replica.cli('INFO', 'replication')).includes('master_link_status:up')) {
    await sleep(20);
  }
  const proxy = await TcpProxy.start(master.port);
  const brokers = [redisBroker(proxy.url, false), redisBroker(proxy.url, true)];
  try {
    const load = await TopicLoad.start(brokers);
    await load.delivering();
    replica.freeze();
    await master.cli('CLIENT', 'KILL', 'TYPE', 'replica');
    await load.delivering();
    await master.kill();
    proxy.target = replica.port;
    replica.thaw();
    await replica.cli('REPLICAOF', 'NO', 'ONE');
    await load.delivering();
    expectOutcome(await load.verdict(), 1);
  } finally {
    await Promise.all(brokers.map((broker) => broker.close()));
    await proxy.stop();
    await Promise.all([master.stop(), replica.stop()]);
  }
}

/** The nodes of a Cluster by their role for the hub. */
interface Owners {
  readonly master: RedisServer;
  readonly other: RedisServer;
  readonly replica: RedisServer;
}

async function ownersOf(nodes: readonly RedisServer[]): Promise<Owners> {
  const slot = await nodes[0]?.cli('CLUSTER', 'KEYSLOT', HUB);
  const lines = ((await nodes[0]?.cli('CLUSTER', 'NODES')) ?? '').split('\n').map((line) => line.split(' '));
  const masters = lines.filter(([, , flags]) => flags?.includes('master'));
  const owner = masters.find(([, , , , , , , , ...slots]) =>
    slots.some((part) => {
      const [from = 0, to = from] = part.split('-').map(Number);
      return from <= Number(slot) && Number(slot) <= to;
    }),
  );
  const node = (line: readonly string[] | undefined): RedisServer =>
    nodes.find(({ port }) => line?.[1]?.includes(`:${port}@`)) as RedisServer;
  return {
    master: node(owner),
    other: node(masters.find((line) => line !== owner)),
    replica: node(lines.find(([, , , master]) => master === owner?.[0])),
  };
}

/** Moves the slot of the hub to another master, key by key. */
async function moveSlot(nodes: readonly RedisServer[], { master, other }: Owners): Promise<void> {
  const slot = await master.cli('CLUSTER', 'KEYSLOT', HUB);
  const [from, to] = await Promise.all([master.cli('CLUSTER', 'MYID'), other.cli('CLUSTER', 'MYID')]);
  await other.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from);
  await master.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to);
  for (let keys = ['']; keys.length > 0; ) {
    keys = (await master.cli('CLUSTER', 'GETKEYSINSLOT', slot, '1')).split('\n').filter(Boolean);
    if (keys.length > 0) {
      await master.cli('MIGRATE', '127.0.0.1', `${other.port}`, '', '0', '5000', 'KEYS', ...keys);
    }
  }
  for (const node of [other, master, ...nodes]) {
    await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', to);
  }
}

async function inCluster(run: (nodes: readonly RedisServer[], owners: Owners) => Promise<unknown>): Promise<void> {
  const nodes = await startRedisCluster(3, { replicas: true });
  const brokers = [
    new RedisBroker({ client: createCluster({ rootNodes: nodes.map(({ url }) => ({ url })) }) }),
    new RedisBroker({
      client: new Cluster(
        nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
        { lazyConnect: true },
      ),
    }),
  ];
  try {
    const load = await TopicLoad.start(brokers);
    await load.delivering();
    await run(nodes, await ownersOf(nodes));
    await load.delivering();
    expectOutcome(await load.verdict(), 1);
  } finally {
    await Promise.all(brokers.map((broker) => broker.close()));
    await Promise.all(nodes.map((node) => node.stop()));
  }
}

describe('Every follower of topics receives each record once, or learns once of a loss, while Redis', () => {
  overlapping('redis-server', [
    ...FAULTS.map((fault) => ({ name: fault.name, run: () => check(fault) })),
    { name: 'is replaced by a replica that is behind', run: promote },
    {
      name: 'promotes a replica in a Cluster',
      run: () => inCluster((_, { replica }) => replica.cli('CLUSTER', 'FAILOVER', 'TAKEOVER')),
    },
    { name: 'moves the slot of the hub to another server', run: () => inCluster(moveSlot) },
  ]);
});
