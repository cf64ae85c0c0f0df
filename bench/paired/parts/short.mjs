import { once } from 'node:events';
import { median } from '../../statistics.mjs';
import { cpu } from '../../usage.mjs';
import { random, takeTurns } from '../turns.mjs';

const CONNECTIONS = 32;
/** Requests of a slice, so that it takes some milliseconds. */
const REQUESTS = 96;

/**
 * The servers of contestants, each of which is started once, whatever the number of contestants that use it.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 */
export async function listenAll(contestants) {
  /** @type {Map<string, Promise<number>>} */
  const ports = new Map();
  /** @param {import('../contestants.mjs').PairedContestant} contestant */
  const portOf = ({ server: [file, create], other }) => {
    const module = `../../servers/${file}.mjs${other ? '?other' : ''}`;
    const key = `${module} ${create}`;
    const port = ports.get(key) ?? start(module, create);
    ports.set(key, port);
    return port;
  };
  return Promise.all(contestants.map(async (each) => ({ ...each, port: await portOf(each) })));
}

/** @param {string} module @param {string} create @returns {Promise<number>} */
async function start(module, create) {
  const server = await (await import(module))[create]();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/**
 * Short streams and plain replies on connections that are kept alive.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ seed: number }} options
 */
export async function create(contestants, load, { seed }) {
  const next = random(seed);
  const all = await listenAll(contestants);

  /** @param {number} contestant the last one is none at all: what it costs to talk with the load generator */
  const slice = async (contestant) => {
    const { port, path } = all[contestant] ?? all[0];
    const count = contestant < all.length ? REQUESTS : 0;
    const before = cpu();
    await load({ kind: 'requests', port, path, connections: CONNECTIONS, count });
    return cpu().cpu - before.cpu;
  };

  /** @param {{ ms: number, fewest: number }} how */
  async function measure({ ms, fewest }) {
    const blocks = await takeTurns(all.length + 1, slice, { ms, fewest, next });
    const talk = median(blocks.map((block) => block[all.length]));
    return { blocks: blocks.map((block) => block.slice(0, -1).map((used) => ((used - talk) * 1_000) / REQUESTS)) };
  }

  return { measure };
}
