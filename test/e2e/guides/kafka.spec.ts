import type { INestApplicationContext, Type } from '@nestjs/common';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import kafkajs, { type ConsumerConfig, type ConsumerRunConfig, type KafkaConfig } from 'kafkajs';
import { getHubToken, type Hub, StreamingModule } from '../../../lib/index.js';
import { RedisBroker } from '../../../lib/redis/index.js';
import { LogRecorder } from '../../support/app.js';
import { type Exports, evaluate } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';
import { deferred, Recorder } from '../../support/events.js';
import { KafkaServer } from '../../support/kafka.js';
import { RedisServer } from '../../support/redis-server.js';
import { describeWith, itWith } from '../../support/tools.js';

const GUIDE = 'docs/kafka.md';
const PARTITIONS = 4;
const QUIET = kafkajs.logLevel.NOTHING;

/** What a test controls of the consumer of one worker. */
class Consumption {
  /** The places of the records that the worker was called with, also repeatedly. */
  readonly called: string[] = [];
  /** Every attempt that has failed. */
  readonly failed = new Recorder<unknown>();
  /** Every time the worker has joined its group. */
  readonly joined = new Recorder();
  /** After so many records, the worker hangs: it has published one, and commits nothing any more. */
  hangsAfter = Number.POSITIVE_INFINITY;
  readonly hanging = deferred();
  /** Resolved at the end of the test, so that the worker can close. */
  readonly released = deferred();

  /** A `Kafka` whose consumers are observed. They read from the start of the topic, so that no record is missed while they join. */
  get Kafka() {
    const observe = (run: ConsumerRunConfig): ConsumerRunConfig => this.observed(run);
    const { joined } = this;
    return class extends kafkajs.Kafka {
      constructor(config: KafkaConfig) {
        super({ ...config, logLevel: QUIET, retry: { initialRetryTime: 50, maxRetryTime: 200 } });
      }

      override consumer(config: ConsumerConfig) {
        const consumer = super.consumer({
          ...config,
          sessionTimeout: 3_000,
          heartbeatInterval: 300,
          maxWaitTimeInMs: 50,
        });
        const { subscribe, run } = consumer;
        consumer.on('consumer.group_join', () => joined.add('joined'));
        consumer.subscribe = (subscription) => subscribe({ ...subscription, fromBeginning: true });
        consumer.run = (options = {}) => run(observe(options));
        return consumer;
      }
    };
  }

  private observed(run: ConsumerRunConfig): ConsumerRunConfig {
    return {
      ...run,
      eachMessage: async (payload) => {
        this.called.push(`${payload.partition}-${payload.message.offset}`);
        await run.eachMessage?.(payload).catch((error) => {
          this.failed.add(error);
          throw error;
        });
        if (this.called.length >= this.hangsAfter) {
          this.hanging.resolve();
          await this.released.promise;
        }
      },
    };
  }
}

/** A process with the hub, whose client records the events. */
async function startListener(url: string) {
  class App {}
  Module({
    imports: [
      StreamingModule.forRoot({ broker: new RedisBroker({ url, prefix: 'shop' }) }),
      StreamingModule.registerHub({ name: 'orders', history: { limit: 1_000, ttl: 3_600_000 } }),
    ],
  })(App);
  const app = await NestFactory.createApplicationContext(App, { logger: new LogRecorder(), abortOnError: false });
  const received = new Recorder<{ topic?: string; data: { id: string } }>();
  const read = async () => {
    for await (const { topic, data } of app.get<Hub<{ id: string }>>(getHubToken('orders')).subscribe()) {
      received.add({ topic, data });
    }
  };
  void read();
  return { app, received };
}

describeWith('kcat')('the guide to Kafka, with a broker of Kafka', () => {
  let kafka: KafkaServer;
  let redis: RedisServer;
  let listener: Awaited<ReturnType<typeof startListener>>;
  let producer: kafkajs.Producer;
  let topicsOfKafka = 0;
  const workers: INestApplicationContext[] = [];
  const itInRedis = itWith('redis-server');

  beforeAll(async () => {
    kafka = await KafkaServer.start();
    process.env.KAFKA_BROKERS = kafka.address;
    const client = new kafkajs.Kafka({ brokers: [kafka.address], logLevel: QUIET });
    producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    await producer.connect();
  });

  afterAll(async () => {
    delete process.env.KAFKA_BROKERS;
    await producer.disconnect();
    await kafka.stop();
  });

  beforeEach(async () => {
    redis = await RedisServer.start();
    process.env.REDIS_URL = redis.url;
    listener = await startListener(redis.url);
    topicsOfKafka++;
  });

  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.close()));
    await listener.app.close();
    await redis.stop();
    delete process.env.REDIS_URL;
  });

  /** The name of the topic of Kafka, and of the group, in this test. */
  const topic = () => `orders${topicsOfKafka}`;

  /** Starts the worker of the guide, with a topic and a group for this test. */
  async function startWorker(consumption = new Consumption(), logs = new LogRecorder()): Promise<Consumption> {
    const block = blockNamed(GUIDE, 'src/worker.ts');
    const named = {
      ...block,
      text: block.text.replace("topic: 'orders'", `topic: '${topic()}'`).replace('orders-to-hub', topic()),
    };
    const createApplicationContext = async (module: Type) => {
      const app = await NestFactory.createApplicationContext(module, { logger: logs, abortOnError: false });
      workers.push(app);
      // The process of the tests keeps its own handlers of signals.
      return Object.create(app, { enableShutdownHooks: { value: () => app } });
    };
    await evaluate(named, () => undefined, {
      '@nestjs/core': { NestFactory: { createApplicationContext } },
      kafkajs: { Kafka: consumption.Kafka },
    });
    await consumption.joined.count(1);
    return consumption;
  }

  /** Produces a number of records to each partition. The key is the partition, and the id counts within it. */
  async function produce(from: number, to: number): Promise<void> {
    for (let id = from; id < to; id++) {
      const messages = Array.from({ length: PARTITIONS }, (_, partition) => ({
        partition,
        key: `region ${partition}`,
        value: JSON.stringify({ id: `${id}`, status: 'paid' }),
      }));
      await producer.send({ topic: topic(), messages });
    }
  }

  /** Waits for a number of events of each partition: each once, and in the order of its partition. */
  async function expectEach(count: number): Promise<void> {
    await listener.received.count(count * PARTITIONS);
    const ids = Array.from({ length: count }, (_, id) => `${id}`);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const own = listener.received.seen.filter((event) => event.topic === `region ${partition}`);
      expect(own.map(({ data }) => data.id)).toEqual(ids);
    }
    expect(listener.received.seen).toHaveLength(count * PARTITIONS);
  }

  itInRedis(
    'publishes each record to the topic that its key names, and leaves out one that is no JSON',
    async () => {
      const logs = new LogRecorder();
      await startWorker(new Consumption(), logs);

      await producer.send({ topic: topic(), messages: [{ partition: 0, key: 'region 0', value: 'no JSON' }] });
      await produce(0, 3);

      await expectEach(3);
      expect(logs.of('error').join()).toContain(`The record ${topic()}-0-0 is left out`);
    },
    30_000,
  );

  itInRedis(
    'workers that join and leave share the partitions, and each event is published once and in order',
    async () => {
      const first = await startWorker();
      await produce(0, 10);
      await startWorker();
      await produce(10, 20);
      await first.joined.count(2);
      await produce(20, 30);
      await workers.shift()?.close();
      await produce(30, 40);

      await expectEach(40);
    },
    60_000,
  );

  itInRedis(
    'a worker that dies after it has published, and before it commits: another one publishes nothing twice',
    async () => {
      const dying = new Consumption();
      dying.hangsAfter = 3;
      await startWorker(dying);
      await produce(0, 5);
      await dying.hanging.promise;

      const { called } = await startWorker();
      await expectEach(5);

      // It was really called with a record that was published already.
      expect(called).toEqual(expect.arrayContaining(dying.called.slice(-1)));
      dying.released.resolve();
    },
    60_000,
  );

  itInRedis(
    'while Redis does not answer, the worker tries the same record, and then publishes each once',
    async () => {
      const { failed } = await startWorker();
      await produce(0, 2);
      await expectEach(2);

      redis.freeze();
      await produce(2, 4);
      const [error] = await failed.count(1);
      redis.thaw();

      expect(error).toMatchObject({ code: 'publish-unknown' });
      await expectEach(4);
    },
    60_000,
  );
});

describe('the consumer of @platformatic/kafka in the guide to Kafka, with a stub of that package', () => {
  it('commits a record after it was published, and tries it again if it was not', async () => {
    const steps = new Recorder();
    const records = ['0', '1'].map((offset) => ({
      topic: 'orders',
      partition: 0,
      offset: BigInt(offset),
      key: 'eu',
      value: '{}',
      commit: async () => steps.add(`committed ${offset}`),
    }));
    const asked: unknown[] = [];
    class Consumer {
      consume(options: unknown) {
        asked.push(options);
        return Promise.resolve(records);
      }
      close = async () => steps.add('closed');
    }
    let failures = 1;
    const feed = {
      publish: async ({ offset }: { offset: string }) => {
        steps.add(`publishes ${offset}`);
        if (failures-- > 0) {
          throw new Error('The broker cannot be reached');
        }
      },
    };

    const exported: Exports = await evaluate(blockNamed(GUIDE, 'src/platformatic-consumer.ts'), () => undefined, {
      '@platformatic/kafka': { Consumer, stringDeserializers: {} },
      'node:timers/promises': { setTimeout: async () => steps.add('waits') },
    });
    const OrderConsumer = exported.OrderConsumer as new (
      feed: unknown,
    ) => { onApplicationBootstrap(): Promise<void>; onModuleDestroy(): Promise<void> };
    const consumer = new OrderConsumer(feed);
    await consumer.onApplicationBootstrap();
    await steps.count(6);
    await consumer.onModuleDestroy();

    expect(asked).toEqual([{ topics: ['orders'], mode: 'committed', autocommit: false }]);
    expect(steps.seen).toEqual([
      'publishes 0',
      'waits',
      'publishes 0',
      'committed 0',
      'publishes 1',
      'committed 1',
      'closed',
    ]);
  });
});
