import type { BrokerPosition } from '../../lib/index.js';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { range } from '../support/hub.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { CLIENTS } from './clients.js';
import { eventually } from './store.js';
import { TopicFollower } from './topic-follower.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000, all: false };

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
});
