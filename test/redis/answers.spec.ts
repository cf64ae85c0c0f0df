import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { slotOf } from '../../lib/redis/log-keys.js';
import { APPEND } from '../../lib/redis/scripts.js';
import { range } from '../support/hub.js';
import { realProcess } from '../support/real-process.js';
import { RedisServer, startRedisCluster } from '../support/redis-server.js';
import { describeWith, toolPath } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 1_000, ttl: 3_600_000 };
const STREAM = 'ns:{log}';
/** Returns the remaining time of each key, in milliseconds. */
const READ_TIMES = "local times = {} for i, key in ipairs(KEYS) do times[i] = redis.call('pttl', key) end return times";
const GUIDE = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8');

/** A broker with an open log, and what its tail receives. */
interface Scene {
  readonly broker: RedisBroker;
  readonly received: string[];
  /** The epochs that the tail was in, the first one first. */
  readonly epochs: string[];
  append(data: number | string, once?: string): Promise<{ readonly epoch: string; readonly offset: number }>;
}

describeWith('redis-server')('RedisBroker', () => {
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

  async function open(options: RedisBrokerOptions = {}, log = 'log'): Promise<Scene> {
    const broker = new RedisBroker({ url: server.url, ...options });
    brokers.push(broker);
    await broker.open(log, RETENTION);
    const received: string[] = [];
    const { epoch } = await broker.tail(log, (records, position) => {
      received.push(...records.map(({ data }) => data));
      if (position) {
        epochs.push(position.epoch);
      }
    });
    const epochs = [epoch];
    const append: Scene['append'] = (data, once) => broker.append(log, { data: `${data}`, encoding: 'json', once });
    return { broker, received, epochs, append };
  }

  const idsOf = async (type: string): Promise<string[]> =>
    (await server.cli('client', 'list'))
      .split('\n')
      .filter((line) => line.includes(`cmd=${type}`))
      .map((line) => /id=(\d+)/.exec(line)?.[1] ?? '');

  it('rejects an entry that Redis refuses because its memory is full, and appends the next ones when it is not', async () => {
    const { append, received } = await open();
    await append(1);
    await server.cli('config', 'set', 'maxmemory', '1');

    const refused = await append(2).catch((error: unknown) => error);
    await server.cli('config', 'set', 'maxmemory', '0');
    await append(3);

    expect(refused).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
    expect((refused as Error).message).toContain('answered "OOM command not allowed');
    await eventually(() => received.length === 2);
    expect(received).toEqual(['1', '3']);
  });

  it('appends an entry once the server is no replica any more, and rejects it if that takes too long', async () => {
    const { append, received, epochs } = await open({ timeout: 3_000 });
    await append(1);
    const connections = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await server.cli('info', 'stats'))?.[1]);
    const before = await connections();
    await server.cli('replicaof', '127.0.0.1', '1');

    const late = await append(2).catch((error: unknown) => error);
    // The pauses between attempts to connect become longer.
    expect((await connections()) - before).toBeLessThan(30);
    const waiting = Promise.all(range(3, 5).map((n) => append(n)));
    await server.cli('replicaof', 'no', 'one');

    expect(late).toMatchObject({ code: 'broker-unavailable' });
    expect((late as Error).message).toContain('READONLY');
    await waiting;
    await eventually(() => received.includes('5'));
    expect(received).toEqual(['1', '3', '4', '5']);
    expect(new Set(epochs).size).toBe(1);
  });

  it('rejects an entry if the user has lost the permission to append', async () => {
    await server.cli('acl', 'setuser', 'limited', 'on', 'nopass', '~*', '&*', '+@all');
    const client = new Redis(server.port, { username: 'limited', password: 'any', lazyConnect: true });
    const { append } = await open({ client, url: undefined });
    await server.cli('acl', 'setuser', 'limited', '-xadd');

    await expect(append(1)).rejects.toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringContaining("NOPERM this user has no permissions to run the 'xadd' command"),
    });
  });

  it.each(['read', 'pubsub'] as const)(
    'keeps the order of entries when Redis has forgotten its scripts (tail: "%s")',
    async (tail) => {
      const { append, received } = await open({ tail });
      await append(0, 'zero');
      await server.cli('script', 'flush');

      await Promise.all(range(1, 100).map((n) => append(n, n % 10 === 0 ? `once ${n}` : undefined)));

      await eventually(() => received.length === 101);
      expect(received).toEqual(range(0, 100).map(String));
    },
  );

  it('continues a tail whose read was ended by another client', async () => {
    const { append, received } = await open();
    await append(1);
    await eventually(async () => received.length === 1 && (await idsOf('xread')).length === 1);

    for (const id of await idsOf('xread')) {
      await server.cli('client', 'unblock', id, 'error');
    }
    await append(2);

    await eventually(() => received.length === 2);
    expect(received).toEqual(['1', '2']);
  });

  it('delivers an event that the commands of the guide append', async () => {
    const { received } = await open({}, 'orders');
    const folder = mkdtempSync(join(tmpdir(), 'streaming-redis-'));
    writeFileSync(join(folder, 'append.lua'), APPEND.text);
    const [, command = ''] = /^```sh\nredis-cli (--eval .*)\n```$/m.exec(GUIDE) ?? [];

    execFileSync('sh', ['-c', `${toolPath('redis-cli')} -p ${server.port} ${command}`], { cwd: folder });

    await eventually(() => received.length === 1);
    expect(received).toEqual(['{"id":"o-1"}']);
    rmSync(folder, { recursive: true });
  });

  const appendRaw = (...fields: string[]): Promise<string> =>
    server.cli('eval', APPEND.text, '1', STREAM, '', '4096', '', `${fields.length}`, ...fields);

  it.each([
    ['the data is not JSON on one line', ['d', 'not json', 'e', 'json']],
    ['the data is not JSON on one line', ['d', '', 'e', 'json']],
    ['the data is not JSON on one line', ['d', '{"price":NaN}', 'e', 'json']],
    ['the data is not JSON on one line', ['d', '{\n  "price": 1\n}', 'e', 'json']],
    ['the data is not JSON on one line', ['d', '"two\nlines"']],
    ['the data is not base64', ['d', '@', 'e', 'base64']],
    ['the field d, the data, is missing', ['e', 'json']],
    ['the field e, the encoding, is json, text or base64', ['d', '1', 'e', 'xml']],
    ['the field y, the type, contains CR or LF', ['d', '1', 'e', 'json', 'y', 'price\ndata: 2']],
    ['the field y, the type, is one of the events of hubs', ['d', '{}', 'e', 'json', 'y', 'reset']],
    ['the field o, the topic, is 1 to 1024 bytes without control characters', ['d', '1', 'e', 'json', 'o', '']],
    ['the field o, the topic, is 1 to 1024 bytes without control characters', ['d', '1', 'e', 'json', 'o', 'eu\n']],
  ])(
    'its script answers to a program in another language that %s, and appends nothing: %j',
    async (problem, fields) => {
      const { append, broker } = await open();

      expect(await appendRaw(...fields).catch(String)).toContain(`ERR ${problem}`);

      await append(1);
      expect(await broker.read('log', 0, 10)).toMatchObject([{ offset: 1, data: '1' }]);
    },
  );

  it.each([
    ['d', '{"price":1.5e3,"ok":[true,null]}', 'e', 'json', 'o', 'eu/ü', 'y', '', 'k', 'a\nb'],
    ['d', 'two\nlines', 'e', 'text'],
    ['d', '', 'e', 'text'],
    ['d', 'AP8=', 'e', 'base64'],
  ])('its script appends what a program in another language may publish: %j %j', async (...fields) => {
    const { received } = await open();

    await appendRaw(...fields);

    await eventually(() => received.length === 1);
    expect(received).toEqual([fields[1]]);
  });

  it('appends an entry again with the same once after onceWindow', async () => {
    const { append, broker } = await open({ onceWindow: 50 });
    const first = await append(1, 'key');
    expect(await append(1, 'key')).toEqual(first);

    await eventually(async () => (await append(1, 'key')).offset > first.offset);
    expect(broker.onceWindow).toBe(50);
  });

  it('begins a new epoch within seconds if a proxy hides that another server has taken over', async () => {
    const { append, epochs, received } = await open();
    const { epoch } = await append(1);
    await eventually(() => received.length === 1);

    // Another server has another run_id.
    await server.cli('set', `${STREAM}:run`, 'f00 1000 3600000');

    await eventually(() => epochs.length === 2);
    expect(epochs[1]).not.toBe(epoch);
    expect(await append(2)).toMatchObject({ epoch: epochs[1], offset: 1 });
  });

  it('begins an epoch that is later than all others, also if the clock of Redis was set back', async () => {
    await server.cli('xadd', STREAM, '1899999999999999999-7', 'd', '1');
    const first = await open();
    expect(first.epochs).toEqual(['1900000000000000000']);

    await server.cli('del', STREAM);
    await server.cli('xadd', STREAM, '18446744073709551000-7', 'd', '1');
    await server.cli('del', `${STREAM}:run`);
    const second = await open();
    expect(second.epochs).toEqual(['18446744073709551001']);

    // The first one learns it, too.
    await eventually(() => first.epochs.length === 2);
    expect(first.epochs[1]).toBe('18446744073709551001');
  });

  it('says whether it is connected, and since when', async () => {
    const own = await RedisServer.start();
    const before = Date.now();
    const { broker } = await open({ url: own.url });
    await eventually(() => broker.status().connected);
    const { since } = broker.status();
    expect(since).toBeGreaterThanOrEqual(before);

    await own.kill();
    await eventually(() => !broker.status().connected);
    const lost = broker.status();
    await own.restart();
    await eventually(() => broker.status().connected);

    expect(lost.since).toBeGreaterThanOrEqual(since);
    expect(broker.status().since).toBeGreaterThanOrEqual(lost.since);
    await broker.close();
    await own.stop();
  });

  it.each([
    [false, 2],
    [true, 1],
  ])('with trustRestarts: %s has a log that was restored completely in %i epochs', async (trustRestarts, count) => {
    const own = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always');
    const { append, epochs, received } = await open({ url: own.url, trustRestarts });
    await append(1);
    await eventually(() => received.length === 1);

    await own.restart();
    const { epoch } = await append(2);

    await eventually(() => received.length === 2);
    expect(new Set([...epochs, epoch]).size).toBe(count);
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    await own.stop();
  });

  it('with trustRestarts begins a new epoch if records are missing', async () => {
    const own = await RedisServer.start();
    const { append, epochs } = await open({ url: own.url, trustRestarts: true });
    await append(1);
    await own.cli('save');
    await append(2);

    await own.restart();
    const { epoch, offset } = await append(3);

    expect(epoch).not.toBe(epochs[0]);
    expect(offset).toBe(1);
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    await own.stop();
  });

  it('keeps the newest figures of processes, and no log of them, for a limited time', async () => {
    const { broker } = await open();
    for (const n of range(1, 3)) {
      await broker.roster.put('other', 'one', new Map([['size', n]]), 10_000);
    }
    await broker.roster.put('other', 'two', new Map([['size', 4]]), 1_000);

    const keys = ['ns:{other}:who', 'ns:{other}:who:one', 'ns:{other}:who:two'];
    expect((await server.cli('keys', 'ns:{other}*')).split('\n').toSorted()).toEqual(keys);
    // At one moment, since the times are compared.
    const times = await server.cli('eval', READ_TIMES, `${keys.length}`, ...keys);
    const [all = 0, one = 0, two = 0] = times.split('\n').map(Number);
    expect(all).toBeGreaterThanOrEqual(one);
    expect(one).toBeGreaterThan(1_000);
    expect(two).toBeLessThanOrEqual(1_000);
  });

  it('keeps as many records as the newest call of open() wants, also of calls at the same time, and of one without a connection', async () => {
    const own = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always');
    const broker = new RedisBroker({ url: own.url, trustRestarts: true });
    brokers.push(broker);
    const ttl = 3_600_000;
    await Promise.all([broker.open('log', { limit: 10, ttl }), broker.open('log', { limit: 5, ttl })]);
    await Promise.all(range(1, 20).map((n) => broker.append('log', { data: `${n}`, encoding: 'json' })));
    expect(await broker.read('log', 0, 100)).toHaveLength(5);

    await own.kill();
    await eventually(() => !broker.status().connected);
    const reopened = broker.open('log', { limit: 3, ttl });
    await own.restart();
    await reopened;

    expect(await broker.read('log', 0, 100)).toHaveLength(3);
    await Promise.all(brokers.splice(0).map((each) => each.close()));
    await own.stop();
  });

  it('says that it is closed to the callers whose entries wait, whether they were sent or not', async () => {
    const own = await RedisServer.start();
    const { append, broker } = await open({ url: own.url });
    own.freeze();
    const sent = append(1);
    const outcome = sent.catch((error: unknown) => error);
    await broker.close();

    expect(await outcome).toMatchObject({
      code: 'publish-unknown',
      message: expect.stringContaining('the broker is closed'),
    });
    own.thaw();
    const other = await open({ url: own.url });
    await own.kill();
    await eventually(() => !other.broker.status().connected);
    // Both connections were lost before this one is refused.
    await once(connect(own.port, '127.0.0.1'), 'error');
    const waiting = other.append(2).catch((error: unknown) => error);
    await other.broker.close();

    expect(await waiting).toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringContaining('the broker is closed'),
    });
    await own.stop();
  });

  it.each(['log}:once:1', 'log}:run', '}', '%', '%7D', 'log%7D:once:1'])(
    'keeps the keys of a log apart from those of the log %j',
    async (name) => {
      const { append } = await open();
      const other = await open({}, name);

      await append(1, '1}');
      await append(2, '1');
      await other.append(3, '1}');
      const again = await append(2, '1');

      expect(again.offset).toBe(2);
      expect((await other.broker.read(name, 0, 10)).map(({ data }) => data)).toEqual(['3']);
    },
  );

  it.each([
    ['redis', 'read'],
    ['redis', 'pubsub'],
    ['ioredis', 'read'],
    ['ioredis', 'pubsub'],
  ] as const)(
    'receives the records of many logs, also of those that are tailed while it waits (%s, tail: "%s")',
    async (driver, tail) => {
      const warnings: unknown[] = [];
      const warn = ({ name }: Error): void => void warnings.push(name);
      realProcess.on('warning', warn);
      const { broker } = await open({
        client: driver === 'redis' ? createClient({ url: server.url }) : new Redis(server.url, { lazyConnect: true }),
        url: undefined,
        tail,
      });
      const received = new Set<string>();
      for (const n of range(1, 30)) {
        await broker.open(`log ${n}`, RETENTION);
        await broker.tail(`log ${n}`, (records) => records.forEach(({ data }) => void received.add(data)));
      }

      await Promise.all(range(1, 30).map((n) => broker.append(`log ${n}`, { data: `${n}`, encoding: 'json' })));

      await eventually(() => received.size === 30);
      // One connection appends, and one receives, whatever the number of logs.
      expect((await server.cli('client', 'list')).split('\n')).toHaveLength(3);
      realProcess.off('warning', warn);
      expect(warnings).toEqual([]);
    },
  );
});

describeWith('redis-server')('The slot of a key', () => {
  it('is the one that Redis Cluster computes', async () => {
    const nodes = await startRedisCluster();
    const keys = [
      'ns:{log}',
      'ns:{log}:run',
      'ns:{}x',
      'ns:{a}{b}',
      'ns:{}}',
      '{ns}:{log}',
      'ns:{ü 😀}',
      'plain',
      '{',
      '',
    ];

    for (const key of keys) {
      expect([key, slotOf(key)]).toEqual([key, Number(await nodes[0]?.cli('cluster', 'keyslot', key))]);
    }
    await Promise.all(nodes.map((node) => node.stop()));
  });
});
