import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Stream, StreamingModule } from 'nestjs-streaming';
import { fromWorker } from 'nestjs-streaming/worker';
import { message, now } from '../fanout/message.mjs';
import { random, takeTurns } from '../paired/turns.mjs';
import { decorate, nestServer } from '../servers/nest-app.mjs';
import { computing } from './producers.mjs';

const CLIENTS = 20;
/** The time between two messages of a client. */
const INTERVAL_US = 10_000;
const SLICE_MS = 1_000;

/** Messages that say when they were due. If the event loop was late, the next ones are due all the same. */
async function* due() {
  let at = now() + Math.round(Math.random() * INTERVAL_US);
  for (;;) {
    // A timer leaves out fractions of a millisecond, and would be early.
    await sleep(Math.ceil((at - now()) / 1_000));
    yield { ...message(), at };
    at += INTERVAL_US;
  }
}

class Beside {
  messages() {
    return due();
  }

  process() {
    return computing();
  }

  worker() {
    return fromWorker(new URL('worker.mjs', import.meta.url));
  }
}

decorate(Beside, 'messages', [Stream('messages', { format: 'ndjson' })]);
decorate(Beside, 'process', [Stream('process', { format: 'text' })]);
decorate(Beside, 'worker', [Stream('worker', { format: 'text' })]);

/**
 * Clients that receive a message every 10 ms, while another one receives what a contestant computes.
 * @param {readonly import('../paired/contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../paired/load-process.mjs').startLoad>} load
 * @param {{ seed: number }} options
 */
export async function create(contestants, load, { seed }) {
  const server = await nestServer('express', Beside, [StreamingModule.forRoot()]);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();

  /** @param {number} contestant */
  const slice = (contestant) => {
    const { path: beside } = contestants[contestant];
    return load({ kind: 'latencies', port, path: '/messages', connections: CLIENTS, beside, ms: SLICE_MS });
  };

  const next = random(seed);
  /** @param {{ ms: number, fewest: number }} how */
  const measure = async (how) => ({ blocks: await takeTurns(contestants.length, slice, { ...how, next }) });
  return { measure };
}
