import { setTimeout as pause } from 'node:timers/promises';
import { READ_RETRIES } from '../../lib/hub/log-reader.js';
import { RedisServer } from '../support/redis-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { HubPlace } from './hub.place.js';
import { overlapping } from './overlapping.js';
import {
  compareWithGuide,
  LOG,
  redisBroker,
  rejectedInLog,
  type Scene,
  type SceneOptions,
  underLoad,
} from './scene.js';

interface World {
  readonly server: RedisServer;
  readonly proxy: TcpProxy;
  readonly scene: Scene;
}

interface Fault {
  /** What happens to Redis, as the end of the name of the test. */
  readonly name: string;
  /** The number of `reset` that every client receives. */
  readonly resets: 0 | 1;
  /** Options of the server. */
  readonly server?: readonly string[];
  readonly scene?: SceneOptions;
  /** Called before the applications start. */
  prepare?(server: RedisServer): Promise<void>;
  /** Makes the fault, and mends it. */
  run(world: World): Promise<unknown>;
}

const PUBSUB: SceneOptions = { options: { tail: 'pubsub' } };

const FAULTS: readonly Fault[] = [
  { name: 'crashes, and starts again without data', resets: 1, run: crash },
  { name: 'crashes, and starts again without data, with tail: pubsub', resets: 1, scene: PUBSUB, run: crash },
  { name: 'crashes, and starts again with an older snapshot', resets: 1, server: ['--save', '3600 1'], run: goBack },
  {
    name: 'crashes, and starts again with an older snapshot, with tail: pubsub',
    resets: 1,
    server: ['--save', '3600 1'],
    scene: PUBSUB,
    run: goBack,
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
    server: ['--appendonly', 'yes', '--appendfsync', 'always'],
    scene: { options: { trustRestarts: true } },
    run: crash,
  },
  { name: 'loses all keys by FLUSHALL', resets: 1, run: ({ server }) => server.cli('FLUSHALL') },
  {
    name: 'loses all keys by FLUSHALL, with tail: pubsub',
    resets: 1,
    scene: PUBSUB,
    run: ({ server }) => server.cli('FLUSHALL'),
  },
  {
    name: 'loses all keys, and its clock was set back since the log began',
    resets: 1,
    prepare: (server) => begin(server, FUTURE),
    run: ({ server }) => server.cli('FLUSHALL'),
  },
  {
    name: 'loses all keys, and a process that knows nothing of the log begins it again after the clock was set back',
    resets: 1,
    run: ({ server }) => begin(server, '1000'),
  },
  { name: 'loses the log by DEL or eviction', resets: 1, run: ({ server }) => server.cli('DEL', LOG) },
  { name: 'is suspended for 3 seconds', resets: 0, run: ({ server }) => suspend(server, 3_000) },
  { name: 'is suspended for 15 seconds', resets: 0, run: ({ server }) => suspend(server, 15_000) },
  {
    name: 'is suspended for 15 seconds, with tail: pubsub',
    resets: 0,
    scene: PUBSUB,
    run: ({ server }) => suspend(server, 15_000),
  },
  {
    name: 'is busy for 3 seconds with one command (DEBUG SLEEP)',
    resets: 0,
    server: ['--enable-debug-command', 'local'],
    run: ({ server }) => server.cli('DEBUG', 'SLEEP', '3'),
  },
  { name: 'closes all connections (CLIENT KILL)', resets: 0, run: killClients },
  { name: 'closes all connections (CLIENT KILL), with tail: pubsub', resets: 0, scene: PUBSUB, run: killClients },
  {
    name: 'closes all connections (CLIENT KILL) of publishers that publish again with `once`',
    resets: 0,
    scene: { once: true },
    run: killClients,
  },
  { name: 'receives nothing more on open connections (half-open)', resets: 0, run: loseConnections },
  {
    name: 'receives nothing more on open connections (half-open), with tail: pubsub',
    resets: 0,
    scene: PUBSUB,
    run: loseConnections,
  },
  { name: 'receives its last event while the connections of the applications are lost', resets: 0, run: appendUnheard },
  {
    name: 'receives its last event while the connections of the applications are lost, with tail: pubsub',
    resets: 0,
    scene: PUBSUB,
    run: appendUnheard,
  },
  { name: 'cannot be reached, and no connection is closed', resets: 0, run: loseNetwork },
  {
    name: 'cannot be reached, and no connection is closed, with tail: pubsub',
    resets: 0,
    scene: PUBSUB,
    run: loseNetwork,
  },
  {
    name: 'forgets its scripts (SCRIPT FLUSH)',
    resets: 0,
    scene: { once: true, ...PUBSUB },
    run: ({ server }) => server.cli('SCRIPT', 'FLUSH'),
  },
  { name: 'refuses writes as a replica (READONLY)', resets: 0, run: beReplica },
  { name: 'has no memory left (OOM)', resets: 0, run: runOutOfMemory },
  { name: 'closes connections that read too slowly (client-output-buffer-limit)', resets: 0, run: limitOutput },
  {
    name: 'closes connections that read too slowly (client-output-buffer-limit), with tail: pubsub',
    resets: 0,
    scene: PUBSUB,
    run: limitOutput,
  },
  { name: 'loads its data for some seconds (LOADING)', resets: 1, server: ['--save', '3600 1'], run: loadSlowly },
  { name: 'withdraws a permission, and grants it again', resets: 0, run: withdrawPermission },
];

/** The first life of a log whose Redis has a clock that is far ahead. */
const FUTURE = '9000000000000000000';

/** Deletes everything, and begins a life of the log. */
async function begin(server: RedisServer, epoch: string): Promise<void> {
  const [, run = ''] = /run_id:(\w+)/.exec(await server.cli('INFO', 'server')) ?? [];
  const script = `redis.call('FLUSHALL')
    redis.call('XADD', KEYS[1], 'MAXLEN', 0, ARGV[1] .. '-0', 'd', '')
    redis.call('SET', KEYS[1] .. ':run', ARGV[2])`;
  await server.cli('EVAL', script, '1', LOG, epoch, run);
}

async function crash({ server }: World): Promise<void> {
  await server.kill();
  await server.restart();
}

/** The log loses the events since the snapshot, of which every client has received some. */
async function goBack({ server, scene }: World): Promise<void> {
  await server.cli('SAVE');
  await scene.load.delivering();
  await server.kill();
  await server.restart();
}

async function suspend(server: RedisServer, ms: number): Promise<void> {
  server.freeze();
  await pause(ms);
  server.thaw();
}

async function killClients({ server }: World): Promise<void> {
  for (const type of ['normal', 'pubsub']) {
    await server.cli('CLIENT', 'KILL', 'TYPE', type);
  }
}

/** Packets of the present connections are dropped. The broker has to notice it, since nobody closes them. */
async function loseConnections({ proxy }: World): Promise<void> {
  proxy.drop();
}

/** Another application publishes an event that no application hears, and nothing after it. */
async function appendUnheard({ server, proxy, scene: { load } }: World): Promise<void> {
  const other = await HubPlace.start('other', redisBroker(server.url, false));
  await load.pausePublishing();
  proxy.drop();
  const { key } = await load.publish(other);
  await load.received(key);
  load.resumePublishing();
  await other.close();
}

/** Packets are dropped until events are rejected, since the connections are given up then, and for longer than a hub repeats a question to its broker. */
async function loseNetwork({ proxy, scene: { load } }: World): Promise<void> {
  proxy.partition();
  await Promise.all([rejections(load), pause(READ_RETRIES.totalMs + 2_000)]);
  proxy.heal();
}

async function beReplica({ server, scene: { load } }: World): Promise<void> {
  // A master that cannot be reached: the replica keeps its data.
  await server.cli('REPLICAOF', '127.0.0.1', '1');
  await rejections(load);
  await server.cli('REPLICAOF', 'NO', 'ONE');
}

async function runOutOfMemory({ server, scene: { load } }: World): Promise<void> {
  await server.cli('CONFIG', 'SET', 'maxmemory', '1');
  await rejections(load);
  await server.cli('CONFIG', 'SET', 'maxmemory', '0');
}

/** Every answer that does not fit into the static buffer of 16 KiB closes its connection. */
async function limitOutput({ server, scene: { load, places } }: World): Promise<void> {
  await server.cli('CONFIG', 'SET', 'client-output-buffer-limit', 'normal 1 0 0 pubsub 1 0 0');
  await Promise.allSettled(places.map((place) => load.burst(place, 500)));
  await server.cli('CONFIG', 'SET', 'client-output-buffer-limit', 'normal 0 0 0 pubsub 32mb 8mb 60');
}

async function loadSlowly({ server, scene: { load } }: World): Promise<void> {
  // Redis waits for this number of microseconds for each key that it loads, and answers LOADING in the meantime.
  await server.cli('SAVE');
  await load.delivering();
  await server.kill();
  await server.restart('--key-load-delay', '500000', '--loading-process-events-interval-bytes', '1024');
}

async function withdrawPermission({ server, scene: { load } }: World): Promise<void> {
  await server.cli('ACL', 'SETUSER', 'default', '-xadd');
  await rejections(load);
  await server.cli('ACL', 'SETUSER', 'default', '+xadd');
}

/** Waits until events are rejected as not taken. */
async function rejections({ published, when }: Scene['load']): Promise<void> {
  const before = published.length;
  await when('events are rejected', () => published.slice(before).some(({ outcome }) => outcome === 'rejected'));
}

async function check({ name, resets, server: options = [], scene = {}, prepare, run }: Fault): Promise<void> {
  const server = await RedisServer.start(...options);
  const proxy = await TcpProxy.start(server.port);
  try {
    await prepare?.(server);
    const outcome = await underLoad(proxy.url, scene, (scene) => run({ server, proxy, scene }));
    expect(outcome.faults).toEqual([]);
    expect(outcome.resets).toEqual(outcome.resets.map(() => resets));
    expect(await rejectedInLog(server, outcome)).toEqual([]);
    compareWithGuide(`Redis ${name}`, outcome);
  } finally {
    await proxy.stop();
    await server.stop();
  }
}

describe('Every client receives each event once, or one reset for a loss, while Redis', () => {
  overlapping(
    'redis-server',
    FAULTS.map((fault) => ({ name: fault.name, run: () => check(fault) })),
  );
});
