import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import type { BrokerPosition } from '../../lib/index.js';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { APPEND } from '../../lib/redis/scripts.js';
import { TOPIC_APPEND } from '../../lib/redis/topic-scripts.js';
import { range } from '../support/hub.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { CLIENTS } from './clients.js';
import { eventually } from './store.js';
import { TopicFollower } from './topic-follower.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000, all: false };
const HUB = 'ns:{log}';
const INDEX = 'ns:{log}:topics';
const [, ACL = ''] =
  /^```text\n(user ns .*)\n```$/m.exec(readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8')) ?? [];

const keyOf = (topic: string): string => `${HUB}:t:${topic}`;

describeWith('redis-server')('The topics of a hub in Redis', () => {
  let server: RedisServer;
  const brokers: RedisBroker[] = [];
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());
  afterEach(async () => {
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    await server.cli('flushall');
  });

  async function open(options: RedisBrokerOptions = {}, retention = RETENTION): Promise<RedisBroker> {
    const broker = new RedisBroker(options.client ? options : { url: server.url, ...options });
    brokers.push(broker);
    await broker.openTopics('log', retention);
    return broker;
  }

  const append = (broker: RedisBroker, topic: string, data: number, once?: string): Promise<BrokerPosition> =>
    broker.append('log', { data: `${data}`, encoding: 'json', topic, once });

  it.each(Object.keys(CLIENTS) as (keyof typeof CLIENTS)[])('are received in order (%s)', async (client) => {
    const broker = await open(CLIENTS[client](server.url));
    const topics = range(1, 1_200).map((n) => `topic ${n} ü}{`);
    const follower = await new TopicFollower(broker, 'log').start(...topics);

    await Promise.all(range(1, 3).flatMap((n) => topics.map((topic) => append(broker, topic, n))));

    await eventually(() => topics.every((topic) => follower.received(topic).length === 3));
    expect(follower.faults).toEqual([]);
    expect(follower.missed).toEqual([]);
    await eventually(() => follower.reached.at(-1)?.offset === 3_600);
    follower.delete(...topics.slice(1));
    await eventually(async () => (await server.cli('pubsub', 'shardchannels')).split('\n').length === 2);
  });

  const read = async (broker: RedisBroker, topic: string, after = 0) => {
    const { position, topics } = await broker.readTopics('log', [{ topic, after }], 1_000);
    const { records = [], completeAfter = -1 } = topics[0] ?? {};
    return { position, completeAfter, data: records.map(({ data }) => Number(data)) };
  };

  it('are one stream for each, which expires, and are in an index until then', async () => {
    const broker = await open({}, { ...RETENTION, ttl: 60_000 });
    await append(broker, 'a', 1);
    await append(broker, 'b', 2, 'once');

    const keys = (await server.cli('keys', '*')).split('\n').toSorted();
    expect(keys).toEqual([HUB, `${HUB}:once:once`, `${HUB}:run`, keyOf('a'), keyOf('b'), INDEX]);
    expect(Number(await server.cli('pttl', keyOf('a')))).toBeGreaterThan(30_000);
    expect(await server.cli('xlen', HUB)).toBe('0');
  });

  it('receive what a program in another language appends with the script of the guide', async () => {
    const broker = await open();
    const follower = await new TopicFollower(broker, 'log').start('a ü');
    const raw = (key: string, topic: string, ...fields: string[]): Promise<string> =>
      server
        .cli('eval', TOPIC_APPEND.text, '3', HUB, INDEX, key, '', topic, '100', '60000', '0', '', '0', ...fields)
        .catch(String);

    await raw(keyOf('a ü'), 'a ü', 'd', '1', 'e', 'json', 'y', 'price', 'k', 'x\ny');
    await append(broker, 'a ü', 2);

    await eventually(() => follower.received('a ü').length === 2);
    const [{ records = [] } = {}] = (await broker.readTopics('log', [{ topic: 'a ü', after: 0 }], 10)).topics;
    expect(records).toMatchObject([
      { data: '1', encoding: 'json', topic: 'a ü', type: 'price', key: 'x\ny', previous: 0 },
      { data: '2', previous: 1 },
    ]);
    expect(Math.abs((records[0]?.time ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(await raw(keyOf('b'), 'b', 'd', 'no json', 'e', 'json')).toContain('ERR the data is not JSON on one line');
    expect(await raw(keyOf('b'), 'a', 'd', '1', 'e', 'json')).toContain(`ERR the stream of the topic is ${keyOf('a')}`);
    expect(await raw(keyOf(''), '', 'd', '1', 'e', 'json')).toContain('ERR the field o, the topic,');
    const plain = ['', '4096', '', '4', 'd', '1', 'e', 'json'];
    expect(await server.cli('eval', APPEND.text, '1', HUB, ...plain)).toContain('Use append-topic.lua');
    expect((await append(broker, 'a ü', 3)).offset).toBe(3);
    await broker.open('log', RETENTION);
    expect(await raw(keyOf('a'), 'a', 'd', '1', 'e', 'json')).toContain('Use append.lua');
  });

  it('leave the index some time after their streams have expired, and then count as incomplete up to there', async () => {
    const broker = await open({}, { ...RETENTION, ttl: 1 });
    for (const n of range(1, 1_000)) {
      await append(broker, `topic ${n}`, n);
    }
    await eventually(async () => (await read(broker, 'topic 1')).completeAfter > 1);
    await append(broker, 'last', 1_001);

    expect(Number(await server.cli('zcard', INDEX))).toBeLessThan(300);
    const { completeAfter, position } = await read(broker, 'topic 1');
    expect(completeAfter).toBeLessThan(position.offset);
    expect((await read(broker, 'never')).completeAfter).toBe(completeAfter);
  });

  it('lose nothing without a word if their key is deleted, and the other topics stay complete', async () => {
    const broker = await open();
    await append(broker, 'a', 1);
    const { offset } = await append(broker, 'a', 2);
    await append(broker, 'b', 3);

    await server.cli('del', keyOf('a'));

    expect(await read(broker, 'a')).toMatchObject({ data: [], completeAfter: offset });
    expect(await read(broker, 'b')).toMatchObject({ data: [3], completeAfter: 0 });
    expect(await read(broker, 'c')).toMatchObject({ data: [], completeAfter: 0 });
    await append(broker, 'a', 4);
    expect(await read(broker, 'a')).toMatchObject({ data: [4], completeAfter: offset });
  });

  it('lose nothing without a word if the index is deleted, and are complete again from there', async () => {
    const broker = await open();
    await append(broker, 'a', 1);
    const { offset } = await append(broker, 'b', 2);

    await server.cli('del', INDEX);

    expect(await read(broker, 'a')).toMatchObject({ data: [1], completeAfter: 0 });
    expect(await read(broker, 'a', 1)).toMatchObject({ data: [], completeAfter: 1 });
    expect(await read(broker, 'c')).toMatchObject({ data: [], completeAfter: offset });
    await append(broker, 'c', 3);
    expect(await read(broker, 'b')).toMatchObject({ data: [2], completeAfter: 0 });
    await append(broker, 'a', 4);
    expect(await read(broker, 'a')).toMatchObject({ data: [1, 4], completeAfter: 0 });
    expect(await read(broker, 'a', 1)).toMatchObject({ data: [4], completeAfter: 1 });
    expect(await read(broker, 'c')).toMatchObject({ data: [3], completeAfter: offset });
    expect(await read(broker, 'd')).toMatchObject({ data: [], completeAfter: offset });
  });

  it.each(['allkeys-lru', 'allkeys-random', 'volatile-random'])(
    'lose nothing without a word if Redis evicts keys (maxmemory-policy %s)',
    async (policy) => {
      const full = await RedisServer.start('--maxmemory-policy', policy);
      const broker = new RedisBroker({ url: full.url });
      await broker.openTopics('log', RETENTION);
      const { used_memory: used = '0' } = Object.fromEntries(
        (await full.cli('info', 'memory')).split('\r\n').map((line) => line.split(':')),
      ) as Record<string, string>;
      await full.cli('config', 'set', 'maxmemory', `${Number(used) + 1_500_000}`);
      const appended = new Map<string, { topic: string; offset: number }[]>();
      for (const n of range(1, 3_000)) {
        const topic = `topic ${n % 700}`;
        let position: BrokerPosition | undefined;
        await eventually(async () => {
          position = await append(broker, topic, n).catch(() => undefined);
          return position !== undefined;
        });
        const { epoch, offset } = position ?? { epoch: '', offset: 0 };
        appended.set(epoch, [...(appended.get(epoch) ?? []), { topic, offset }]);
      }

      let lost = 0;
      for (const topic of range(0, 699).map((n) => `topic ${n}`)) {
        const { position, topics } = await broker.readTopics('log', [{ topic, after: 0 }], 1_000);
        const { records = [], completeAfter = 0 } = topics[0] ?? {};
        const all = appended.get(position.epoch)?.filter((each) => each.topic === topic) ?? [];
        const kept = new Set(records.map(({ offset }) => offset));
        lost += all.filter(({ offset }) => !kept.has(offset)).length;
        expect(all.filter(({ offset }) => offset > completeAfter && !kept.has(offset))).toEqual([]);
      }
      expect(Number(/evicted_keys:(\d+)/.exec(await full.cli('info', 'stats'))?.[1])).toBeGreaterThan(0);
      // Other policies may evict the stream of the hub: the records of its last epoch may all be there.
      expect(lost).toBeGreaterThan(policy === 'volatile-random' ? 0 : -1);
      await broker.close();
      await full.stop();
    },
  );

  it('keep records that follow those of a later epoch, which the hub has lost', async () => {
    const broker = await open();
    await server.cli('xadd', keyOf('a'), '99999999999999999999-5'.slice(1), 'd', '0');

    await append(broker, 'a', 1);
    await append(broker, 'a', 2);

    expect(await read(broker, 'a')).toMatchObject({ data: [1, 2], completeAfter: 0 });
  });

  it('have the retention of the newest process, and count as incomplete where a shorter one has removed records', async () => {
    const older = await open({}, { ...RETENTION, ttl: 1 });
    const { offset } = await append(older, 'a', 1);
    await eventually(async () => (await server.cli('exists', keyOf('a'))) === '0');
    const newer = await open();
    await append(newer, 'b', 2);

    expect(await read(newer, 'a')).toMatchObject({ data: [], completeAfter: offset });
    expect(await read(newer, 'c')).toMatchObject({ data: [], completeAfter: 0 });
    await newer.openTopics('log', { ...RETENTION, limit: 0 });
    await append(newer, 'b', 3);
    expect(await read(newer, 'b')).toMatchObject({ data: [], completeAfter: offset + 2 });
  });

  it('are refused to a process that has opened the hub with one history, once another has opened it with topics', async () => {
    const plain = new RedisBroker({ url: server.url });
    brokers.push(plain);
    await plain.open('log', RETENTION);
    const { epoch } = await plain.append('log', { data: '1', encoding: 'json' });

    const broker = await open();
    const refused = await plain.append('log', { data: '2', encoding: 'json' }).catch((error: unknown) => error);

    expect(refused).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
    expect((refused as Error).message).toContain('with a history for each topic');
    expect((await append(broker, 'a', 1)).epoch).not.toBe(epoch);
    await plain.open('log', RETENTION);
    expect(await plain.append('log', { data: '3', encoding: 'json' })).toMatchObject({ offset: 1 });
    await expect(append(broker, 'a', 2)).rejects.toThrow('without a history for each topic');
  });

  it('keep their order when Redis has forgotten its scripts', async () => {
    const broker = await open();
    const follower = await new TopicFollower(broker, 'log').start('a', 'b');
    await append(broker, 'a', 0);

    const before = range(1, 40).map((n) => append(broker, n % 2 ? 'a' : 'b', n));
    await server.cli('script', 'flush');
    await Promise.all([...before, ...range(41, 80).map((n) => append(broker, n % 2 ? 'a' : 'b', n))]);

    await eventually(() => follower.received('a').length === 41 && follower.received('b').length === 40);
    expect(follower.received('b')).toEqual(range(1, 40).map((n) => 2 * n));
    expect(follower.faults).toEqual([]);
  });

  it('have no record that Redis has refused because its memory is full', async () => {
    const broker = await open();
    const follower = await new TopicFollower(broker, 'log').start('a');
    await append(broker, 'a', 1);
    await server.cli('config', 'set', 'maxmemory', '1');

    const refused = await append(broker, 'a', 2).catch((error: unknown) => error);
    await server.cli('config', 'set', 'maxmemory', '0');
    await append(broker, 'a', 3);

    expect(refused).toMatchObject({ code: 'broker-unavailable', message: expect.stringContaining('OOM') as string });
    await eventually(() => follower.received('a').length === 2);
    expect(await read(broker, 'a')).toMatchObject({ data: [1, 3] });
  });

  it('are read if a message is lost on a connection that stays open', async () => {
    const broker = await open();
    const follower = await new TopicFollower(broker, 'log').start('a', 'b');
    const { epoch } = await append(broker, 'a', 1);
    await eventually(() => follower.received('a').length === 1 && follower.reached.length > 0);

    // What the script does, without the message.
    const admin = new Redis(server.port);
    await admin
      .multi()
      .xadd(HUB, 'MAXLEN', '0', `${epoch}-2`, 'd', '')
      .xadd(keyOf('b'), `${epoch}-2`, 'd', '2', 'e', 'json', 'p', '-0', 's', `${Date.now()}`)
      .zadd(INDEX, 2, 'b')
      .exec();
    admin.disconnect();

    await eventually(() => follower.received('b').length === 1);
    expect(follower.missed).toHaveLength(1);
    await append(broker, 'b', 3);
    await eventually(() => follower.received('b').length === 2);
    expect(follower.faults).toEqual([]);
  });

  it('are received again after the connections to Redis were closed, or read too slowly', async () => {
    const broker = await open();
    const follower = await new TopicFollower(broker, 'log').start('a', 'b');
    const faults = [
      () => server.cli('client', 'kill', 'type', 'pubsub'),
      () => server.cli('client', 'kill', 'type', 'normal'),
      async () => {
        await server.cli('config', 'set', 'client-output-buffer-limit', 'pubsub 100000 0 0');
        await broker.append('log', { data: '0'.padStart(200_000), encoding: 'json', topic: 'other' });
        await follower.add('other');
        await broker.append('log', { data: '0'.padStart(200_000), encoding: 'json', topic: 'other' });
      },
    ];

    let n = 0;
    for (const fault of faults) {
      const missed = follower.missed.length;
      await append(broker, 'a', ++n);
      await fault();
      await eventually(() => append(broker, 'b', n + 1).then(Boolean, () => false));
      n++;
      await eventually(() => follower.received('a').length + follower.received('b').length >= n);
      await eventually(() => fault === faults[1] || follower.missed.length > missed);
    }

    expect(follower.faults).toEqual([]);
    expect(follower.resets.size).toBe(0);
    expect(follower.received('a')).toEqual([1, 3, 5]);
    await server.cli('config', 'set', 'client-output-buffer-limit', 'pubsub 33554432 8388608 60');
  });

  it.each(['redis', 'ioredis'])('work with the permissions of the guide (%s)', async (driver) => {
    const [, name, ...rules] = ACL.replace(' +client|setinfo', '').split(' ');
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules);
    const url = `redis://${name}:secret@127.0.0.1:${server.port}`;
    const client = driver === 'redis' ? createClient({ url }) : new Redis(url, { lazyConnect: true });
    const broker = await open({ client }, { ...RETENTION, ttl: 20, all: true });
    const follower = await new TopicFollower(broker, 'log').start('a');

    for (const n of range(1, 200)) {
      await append(broker, n % 2 ? 'a' : `topic ${n}`, n, n % 10 ? undefined : `once ${n}`);
    }

    await eventually(() => follower.received('a').length === 100);
    expect(follower.faults).toEqual([]);
    await broker.openTopics('log', { ...RETENTION, limit: 1 });
    expect((await read(broker, 'a')).data).toEqual([199]);
    follower.delete('a');
    await eventually(async () => !(await server.cli('pubsub', 'shardchannels')).includes(keyOf('a')));
    expect(await server.cli('acl', 'log')).toBe('');
  });

  it('are refused when the hub is opened if the user may not use a command, which the error names', async () => {
    const [, name, ...rules] = ACL.replace(' +client|setinfo', '').split(' ');
    const client = new Redis(`redis://${name}:secret@127.0.0.1:${server.port}`, { lazyConnect: true });

    for (const command of ['xlen', 'xrevrange', 'exists', 'unlink', 'zscore', 'zmscore', 'zrem', 'spublish']) {
      await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules, `-${command}`);
      const error = await open({ client }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'broker-unavailable' });
      expect((error as Error).message.toLowerCase()).toContain(`may not use ${command}`);
    }
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules, '-ssubscribe');
    const broker = await open({ client });
    await expect(new TopicFollower(broker, 'log').start('a')).rejects.toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringContaining("'ssubscribe'") as string,
    });
  });
});
