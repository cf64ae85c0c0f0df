import { Param } from '@nestjs/common';
import { InjectRuns, MemoryBroker, Stream, StreamingModule } from 'nestjs-streaming';
import { uiMessages } from 'nestjs-streaming/ai';
import { RedisBroker } from 'nestjs-streaming/redis';
import { decorate, nestServer } from '../../servers/nest-app.mjs';
import { answer } from '../answer.mjs';

/** @typedef {import('../worker.mjs').Program} Program */
/** @typedef {{ flush?: 'each' }} Flush */

/** More than are started at once. */
const MOST_RUNS = 5_000;

/**
 * A generator that a route returns.
 * @param {Flush} [flush]
 * @returns {Promise<Program>}
 */
async function route(flush) {
  class Answers {
    /** @param {string} plan */
    start(plan) {
      return answer(plan);
    }
  }
  decorate(Answers, 'start', [Stream('start/:id/:plan', { format: uiMessages, ...flush })], [Param('plan')]);
  return { server: await nestServer('fastify', Answers, [StreamingModule.forRoot()]) };
}

/**
 * The same answers as runs.
 * @param {import('nestjs-streaming').Broker} broker
 * @param {Flush} [flush]
 * @returns {Promise<Program>}
 */
async function runs(broker, flush) {
  /** @type {import('nestjs-streaming').Runs} */
  let answers;
  class Answers {
    /** @param {import('nestjs-streaming').Runs} injected */
    constructor(injected) {
      answers = injected;
    }

    /** @param {string} id @param {string} plan */
    start(id, plan) {
      return answers.start(id, () => answer(plan));
    }

    /** @param {string} id */
    view(id) {
      return answers.join(id);
    }
  }
  InjectRuns('answers')(Answers, undefined, 0);
  const options = { format: uiMessages, ...flush };
  decorate(Answers, 'start', [Stream('start/:id/:plan', options)], [Param('id'), Param('plan')]);
  decorate(Answers, 'view', [Stream('view/:id', options)], [Param('id')]);
  const server = await nestServer('fastify', Answers, [
    StreamingModule.forRoot({ broker }),
    StreamingModule.registerRuns({ name: 'answers', limits: { running: MOST_RUNS } }),
  ]);
  return { server, start: (id, plan) => answers.start(id, () => answer(plan)) };
}

const redisBroker = () => new RedisBroker({ url: process.env.BENCH_REDIS_URL ?? '' });

export const plain = () => route();
export const plainEach = () => route({ flush: 'each' });
export const memory = () => runs(new MemoryBroker());
export const memoryEach = () => runs(new MemoryBroker(), { flush: 'each' });
export const redis = () => runs(redisBroker());
export const redisEach = () => runs(redisBroker(), { flush: 'each' });
