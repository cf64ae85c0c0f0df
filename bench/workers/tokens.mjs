import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Param } from '@nestjs/common';
import { Stream, StreamingModule } from 'nestjs-streaming';
import { fromNative, fromWorker } from 'nestjs-streaming/worker';
import { Piscina } from 'piscina';
import { random, takeTurns } from '../paired/turns.mjs';
import { count, decorate, nestServer } from '../servers/nest-app.mjs';
import { mainThreadCpu } from '../usage.mjs';
import { generator } from './producers.mjs';

const FILE = new URL('worker.mjs', import.meta.url);
const RING = 65_536;

/**
 * The tokens of a thread that calls a function for each of them: a queue between the calls and the reader.
 * @param {(onToken: (token: string | null) => void) => void} start the last token is `null`
 */
async function* fromCalls(start) {
  /** @type {(string | null)[]} */
  let queue = [];
  let wake = () => undefined;
  start((token) => {
    queue.push(token);
    wake();
  });
  for (;;) {
    const taken = queue;
    queue = [];
    for (const token of taken) {
      if (token === null) {
        return;
      }
      yield token;
    }
    if (queue.length === 0) {
      await new Promise((resolve) => {
        wake = () => void resolve(undefined);
      });
    }
  }
}

/**
 * The sources of tokens, each by its path.
 * @param {Piscina} pool
 * @param {string | undefined} file of the addon
 * @returns {Record<string, (count: number, ms: number) => AsyncIterable<string>>}
 */
function sourcesOf(pool, file) {
  const addon = file && createRequire(import.meta.url)(file);
  return {
    generator,
    messages: (count, ms) => fromWorker(FILE, { data: { count, ms }, pool }),
    ring: (count, ms) => fromWorker(FILE, { data: { count, ms }, pool, ring: RING }),
    native: (count, ms) => fromNative(addon.ring(count, ms), { encoding: 'utf8' }),
    calls: (count, ms) => fromCalls((onToken) => addon.calls(count, ms, onToken)),
  };
}

/**
 * Streams of tokens, all of which begin at once. The load generator reads at the same time, so that there is backpressure.
 * @param {readonly import('../paired/contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../paired/load-process.mjs').startLoad>} load
 * @param {{ seed: number, streams: number, tokens: number, ms: number, addon?: string }} options `ms`: the time between two tokens of a stream
 */
export async function create(contestants, load, { seed, streams, tokens, ms, addon }) {
  // The threads are kept, so that their start is not measured.
  const pool = new Piscina({ minThreads: streams, maxThreads: streams });
  const sources = sourcesOf(pool, addon);
  class Tokens {
    /** @param {string} kind @param {string} count */
    tokens(kind, count) {
      return sources[kind](Number(count), ms);
    }
  }
  decorate(Tokens, 'tokens', [Stream(':kind/:count', { format: 'text' })], [Param('kind'), count]);
  const server = await nestServer('express', Tokens, [StreamingModule.forRoot()]);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();

  /** @param {number} contestant @returns nanoseconds for each token */
  const slice = async (contestant) => {
    const before = mainThreadCpu();
    await load({ kind: 'streams', port, path: `${contestants[contestant].path}/${tokens}`, connections: streams });
    return (mainThreadCpu() - before) / (streams * tokens);
  };

  const next = random(seed);
  /** @param {{ ms: number, fewest: number }} how */
  const measure = async (how) => ({ blocks: await takeTurns(contestants.length, slice, { ...how, next }) });
  return { measure };
}
