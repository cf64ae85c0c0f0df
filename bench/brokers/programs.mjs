import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getHubToken, MemoryBroker, StreamingModule } from 'nestjs-streaming';
import { memory as heapNow } from '../usage.mjs';

/** The programs of the scenario `brokers`: an application with a hub on each broker, and the same with the driver alone. */

const TOPIC = 'eu';
const DEFAULTS = { limit: 1_000, ttl: 3_600_000 };
const IN_FLIGHT = 256;
const LONGEST_MS = 40_000;

/** @typedef {{ limit?: number, per?: 'topic' }} History */

/** @type {Record<string, (url: string) => Promise<import('nestjs-streaming').Broker>>} */
const BROKERS = {
  memory: async () => new MemoryBroker(),
  async redis(url) {
    const { RedisBroker } = await import('nestjs-streaming/redis');
    return new RedisBroker({ url });
  },
  async ioredis(url) {
    const [{ RedisBroker }, { Redis }] = await Promise.all([import('nestjs-streaming/redis'), import('ioredis')]);
    return new RedisBroker({ client: new Redis(url) });
  },
  async nats(servers) {
    const { NatsBroker } = await import('nestjs-streaming/nats');
    return new NatsBroker({ servers });
  },
  async postgres(url) {
    const { PostgresBroker } = await import('nestjs-streaming/postgres');
    return new PostgresBroker({ url });
  },
};

/**
 * An application with a hub, without HTTP.
 * @param {string} kind a name in `BROKERS`
 */
const hubOn =
  (kind) =>
  /** @param {string} url @param {string} name @param {History} [history] */
  async (url, name, history = {}) => {
    const began = performance.now();
    const broker = await BROKERS[kind](url);
    class App {}
    Module({
      imports: [
        StreamingModule.forRoot({ broker }),
        StreamingModule.registerHub({ name, history: { ...DEFAULTS, ...history } }),
      ],
    })(App);
    const app = await NestFactory.createApplicationContext(App, { logger: ['error', 'warn'] });
    const startMs = performance.now() - began;
    /** @type {any} */
    const hub = app.get(getHubToken(name));
    /** What this process has received for the topics that it wants. */
    let wanted = 0;

    /** Reads a number of events, and leaves. @param {object} options @param {number} count */
    const take = async (options, count) => {
      let left = count;
      for await (const { type } of hub.subscribe(options)) {
        if (type === 'reset') {
          throw new Error('The history is too short for this measurement');
        }
        if (type === undefined && --left <= 0) {
          return;
        }
      }
    };

    return {
      /** @param {object} message @param {string} [topic] @returns {Promise<string>} */
      append: (message, topic = TOPIC) => hub.publish(message, { topic }),
      /** @param {(json: string) => void} _onText @param {(message: any) => void} onMessage */
      listen(_onText, onMessage) {
        const read = async () => {
          for await (const { type, data } of hub.subscribe({ topic: TOPIC, overflow: 'disconnect' })) {
            if (type === undefined) {
              onMessage(data);
            }
          }
        };
        void read();
      },
      end: () => app.close(),

      /** How long the application took to start. */
      started: () => ({ startMs }),
      /** Publishes many events, and returns the ids. @param {number} count @param {number} topics over how many topics they spread */
      async fill(count, topics = 1) {
        /** @type {string[]} */
        const ids = [];
        let next = 0;
        const some = async () => {
          while (next < count) {
            const i = next++;
            ids[i] = await hub.publish(
              { i, text: 'x'.repeat(170) },
              { topic: topics === 1 ? TOPIC : `topic ${i % topics}` },
            );
          }
        };
        await Promise.all(Array.from({ length: Math.min(count, IN_FLIGHT) }, some));
        return { first: ids[0], last: ids[count - 1] };
      },
      /** Clients come back at once, each with the same id. @param {number} clients @param {string} after @param {number} count */
      async replay(clients, after, count) {
        await Promise.all(
          Array.from({ length: clients }, () =>
            take({ topic: TOPIC, after, overflow: 'disconnect', queue: { items: 1_000_000, bytes: 1 << 30 } }, count),
          ),
        );
        return {};
      },
      /** Subscribes to topics, one subscription for each. @param {number} topics @param {number} [first] */
      async want(topics, first = 0) {
        const read = async (/** @type {string} */ topic) => {
          for await (const { type } of hub.subscribe({ topic })) {
            wanted += type === undefined ? 1 : 0;
          }
        };
        for (let i = first; i < first + topics; i++) {
          void read(`topic ${i}`);
        }
        return {};
      },
      /** Resolves when the subscriptions have received a number of events in all. @param {number} count */
      async arrived(count) {
        for (const end = performance.now() + LONGEST_MS; wanted < count; ) {
          if (performance.now() > end) {
            throw new Error(`Only ${wanted} of ${count} events have arrived`);
          }
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return {};
      },
      /** What this process has received, and what of that its clients wanted. */
      received: () => ({ received: hub.log.received, wanted }),
      heap: async () => heapNow(),
    };
  };

export const memory = hubOn('memory');
export const redis = hubOn('redis');
export const ioredis = hubOn('ioredis');
export const nats = hubOn('nats');
export const postgres = hubOn('postgres');

/** `XADD` of ioredis, as the broker sends it. @param {string} url @param {string} key */
export async function rawIoredis(url, key) {
  const { Redis } = await import('ioredis');
  const client = new Redis(url);
  await client.call('XADD', key, '1-1', 'd', '');
  return {
    append: (/** @type {object} */ message) =>
      client.call(
        ...['XADD', key, 'NOMKSTREAM', 'MAXLEN', '~', '4096', '1-*'],
        ...['e', 'json', 'd', JSON.stringify(message), 'o', TOPIC, 's', `${Date.now()}`],
      ),
    end: () => client.disconnect(),
  };
}

/** `publish()` of JetStream, to a stream in files. @param {string} servers @param {string} name */
export async function rawNats(servers, name) {
  const [{ connect }, { jetstream, jetstreamManager }] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@nats-io/jetstream'),
  ]);
  const connection = await connect({ servers });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name, subjects: [name], max_msgs: 4_096 });
  const js = jetstream(connection);
  return {
    append: (/** @type {object} */ message) => js.publish(name, JSON.stringify(message)),
    end: () => connection.close(),
  };
}

/** An `INSERT` for each event, over a pool of connections. @param {string} connectionString @param {string} name */
export async function rawPostgres(connectionString, name) {
  const { Pool } = (await import('pg')).default;
  const pool = new Pool({ connectionString, max: 10 });
  await pool.query(
    `CREATE TABLE ${name} (id bigserial PRIMARY KEY, topic text, data text, time timestamptz DEFAULT now())`,
  );
  return {
    append: (/** @type {object} */ message) =>
      pool.query({
        name,
        text: `INSERT INTO ${name} (topic, data) VALUES ($1, $2) RETURNING id`,
        values: [TOPIC, JSON.stringify(message)],
      }),
    end: () => pool.end(),
  };
}
