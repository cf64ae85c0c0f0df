import { Cluster, Redis } from 'ioredis';
import { createCluster, createSentinel } from 'redis';
import { RedisBroker } from '../../lib/redis/index.js';
import { RedisServer, startRedisCluster } from '../support/redis-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import type { Load } from './load.js';
import { overlapping } from './overlapping.js';
import { compareWithGuide, LOG, type Outcome, rejectedInLog, type SceneOptions, underLoad } from './scene.js';

const HOST = '127.0.0.1';

/** Starts a replica, and waits until it has the data of its master. */
async function replicaOf(master: RedisServer): Promise<RedisServer> {
  const replica = await RedisServer.start('--replicaof', `${HOST} ${master.port}`);
  await replicated(replica);
  return replica;
}

async function replicated(replica: RedisServer): Promise<void> {
  while (!(await replica.cli('INFO', 'replication')).includes('master_link_status:up')) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Suspends the replica, without the data that the master sends from now on. */
async function fallBehind(master: RedisServer, replica: RedisServer): Promise<void> {
  replica.freeze();
  await master.cli('CLIENT', 'KILL', 'TYPE', 'replica');
}

async function check(name: string, server: RedisServer, outcome: Outcome, resets: 0 | 1): Promise<void> {
  expect(outcome.faults).toEqual([]);
  expect(outcome.resets).toEqual(outcome.resets.map(() => resets));
  expect(await rejectedInLog(server, outcome)).toEqual([]);
  compareWithGuide(`${name.charAt(0).toUpperCase()}${name.slice(1)}`, outcome);
}

/** Starts three Sentinels that know each other, and the replica. */
async function sentinels(master: RedisServer): Promise<RedisServer[]> {
  const all = await Promise.all([1, 2, 3].map(() => RedisServer.sentinel(master, 2)));
  for (const sentinel of all) {
    let state = '';
    while (!/num-slaves\n1\n/.test(state) || !/num-other-sentinels\n2\n/.test(state)) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      state = await sentinel.cli('SENTINEL', 'MASTER', 'main');
    }
  }
  return all;
}

async function stopAll(...servers: readonly (RedisServer | undefined)[]): Promise<void> {
  await Promise.all(servers.map((server) => server?.stop()));
}

/** Finds the servers of a Cluster that have the log, and one that has not. */
async function ownersOf(nodes: readonly RedisServer[]): Promise<Owners> {
  const [first] = nodes;
  const slot = Number(await first?.cli('CLUSTER', 'KEYSLOT', LOG));
  const lines = ((await first?.cli('CLUSTER', 'NODES')) ?? '').split('\n').map((line) => line.split(' '));
  const owner = lines.find(([, , , , , , , , ...slots]) =>
    slots.some((range) => {
      const [from = 0, to = from] = range.split('-').map(Number);
      return from <= slot && slot <= to;
    }),
  );
  const copy = lines.find(([, , , master]) => master === owner?.[0]);
  const node = (address = ''): RedisServer | undefined => nodes.find(({ port }) => address.includes(`:${port}@`));
  const another = lines.find(([id, , flags]) => flags?.includes('master') && id !== owner?.[0]);
  const [master, replica, other] = [node(owner?.[1]), node(copy?.[1]), node(another?.[1])];
  if (!master || !replica || !other) {
    throw new Error(`No node has the log: ${lines.join('\n')}`);
  }
  return { nodes, master, replica, other };
}

/** A replica takes over the address of its master. */
async function byHand(name: string, tail: 'read' | 'pubsub'): Promise<void> {
  const master = await RedisServer.start();
  const replica = await replicaOf(master);
  const proxy = await TcpProxy.start(master.port);
  try {
    const outcome = await underLoad(proxy.url, { options: { tail } }, async ({ load }) => {
      await fallBehind(master, replica);
      await load.delivering();
      await master.kill();
      proxy.target = replica.port;
      replica.thaw();
      await replica.cli('REPLICAOF', 'NO', 'ONE');
    });
    await check(name, replica, outcome, 1);
  } finally {
    await proxy.stop();
    await stopAll(master, replica);
  }
}

async function bySentinel(name: string): Promise<void> {
  const master = await RedisServer.start();
  const replica = await replicaOf(master);
  const watchers = await sentinels(master);
  const addresses = watchers.map(({ port }) => ({ host: HOST, port }));
  const broker: SceneOptions['broker'] = (index) =>
    new RedisBroker({
      client:
        index === 1
          ? new Redis({ name: 'main', sentinels: addresses, lazyConnect: true })
          : createSentinel({ name: 'main', sentinelRootNodes: addresses }),
    });
  try {
    const outcome = await underLoad(master.url, { broker }, ({ load }) => crashAhead(master, replica, load));
    await check(name, replica, outcome, 1);
  } finally {
    await stopAll(master, replica, ...watchers);
  }
}

/** The servers of a Cluster: the master with the log, its replica, and another master. */
interface Owners {
  readonly nodes: readonly RedisServer[];
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly other: RedisServer;
}

interface ClusterFault {
  readonly options?: SceneOptions['options'];
  readonly resets: 0 | 1;
  /** Makes the fault. Returns the server that has the log after it. */
  run(owners: Owners, load: Load): Promise<RedisServer>;
}

async function inCluster(name: string, { options, resets, run }: ClusterFault): Promise<void> {
  const nodes = await startRedisCluster(3, { replicas: true });
  const addresses = nodes.map(({ port }) => ({ host: HOST, port }));
  const broker: SceneOptions['broker'] = (index) =>
    new RedisBroker({
      ...options,
      client:
        index === 1
          ? new Cluster(addresses, { lazyConnect: true })
          : createCluster({ rootNodes: nodes.map(({ url }) => ({ url })) }),
    });
  try {
    const owners = await ownersOf(nodes);
    await replicated(owners.replica);
    let owner = owners.master;
    const outcome = await underLoad('', { broker }, async ({ load }) => {
      owner = await run(owners, load);
    });
    await check(name, owner, outcome, resets);
  } finally {
    await stopAll(...nodes);
  }
}

/** The master crashes after it has appended events that its replica has not received. */
async function crashAhead(master: RedisServer, replica: RedisServer, load: Load): Promise<void> {
  await fallBehind(master, replica);
  await load.delivering();
  await master.kill();
  replica.thaw();
}

async function loseMaster({ master, replica }: Owners, load: Load): Promise<RedisServer> {
  await crashAhead(master, replica, load);
  return replica;
}

/** The replica takes over after it has received everything. */
async function failOver({ replica }: Owners): Promise<RedisServer> {
  await replica.cli('CLUSTER', 'FAILOVER');
  return replica;
}

/** The slot of the log moves to another master, key by key. Redis answers ASK and MOVED. */
async function moveSlot({ nodes, master, other }: Owners): Promise<RedisServer> {
  const slot = await master.cli('CLUSTER', 'KEYSLOT', LOG);
  const [from, to] = await Promise.all([master.cli('CLUSTER', 'MYID'), other.cli('CLUSTER', 'MYID')]);
  await other.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from);
  await master.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to);
  for (;;) {
    const keys = (await master.cli('CLUSTER', 'GETKEYSINSLOT', slot, '1')).split('\n').filter(Boolean);
    if (keys.length === 0) {
      break;
    }
    await master.cli('MIGRATE', HOST, `${other.port}`, '', '0', '5000', 'KEYS', ...keys);
  }
  for (const node of [other, master, ...nodes]) {
    // Replicas learn it from their masters.
    await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', to);
  }
  return other;
}

const FAILOVERS: Readonly<Record<string, (name: string) => Promise<void>>> = {
  'a replica that is behind becomes the master (REPLICAOF NO ONE)': (name) => byHand(name, 'read'),
  'a replica that is behind becomes the master (REPLICAOF NO ONE), with tail: pubsub': (name) => byHand(name, 'pubsub'),
  'Sentinel promotes a replica that is behind': bySentinel,
  'a Cluster promotes a replica that is behind': (name) => inCluster(name, { resets: 1, run: loseMaster }),
  'a Cluster promotes a replica that is behind, with tail: pubsub': (name) =>
    inCluster(name, { resets: 1, options: { tail: 'pubsub' }, run: loseMaster }),
  'a Cluster moves the log to another server': (name) => inCluster(name, { resets: 1, run: moveSlot }),
  'a Cluster promotes a replica as planned (CLUSTER FAILOVER), with trustRestarts': (name) =>
    inCluster(name, { resets: 0, options: { trustRestarts: true }, run: failOver }),
};

describe('Every client receives each event once, or one reset for a loss, when', () => {
  overlapping(
    'redis-server',
    Object.entries(FAILOVERS).map(([name, run]) => ({ name, run: () => run(name) })),
  );
});
