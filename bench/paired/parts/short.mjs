import { median } from '../../statistics.mjs';
import { cpu } from '../../usage.mjs';
import { random, takeTurns } from '../turns.mjs';
import { startAll } from './start.mjs';

const CONNECTIONS = 32;
/** Requests of a slice, so that it takes some milliseconds. */
const REQUESTS = 96;

/**
 * Short streams and plain replies on connections that are kept alive.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ seed: number }} options
 */
export async function create(contestants, load, { seed }) {
  const next = random(seed);
  const all = await startAll(contestants);

  /** @param {number} contestant the last one is none at all: what it costs to talk with the load generator */
  const slice = async (contestant) => {
    const { port, path } = all[contestant] ?? all[0];
    const count = contestant < all.length ? REQUESTS : 0;
    const before = cpu();
    await load({ kind: 'requests', port, path, connections: CONNECTIONS, count });
    return cpu().cpu - before.cpu;
  };

  /** @param {{ ms: number, fewest: number }} how */
  async function measure(how) {
    const blocks = await takeTurns(all.length + 1, slice, { ...how, next });
    const talk = median(blocks.map((block) => block[all.length]));
    return { blocks: blocks.map((block) => block.slice(0, -1).map((used) => ((used - talk) * 1_000) / REQUESTS)) };
  }

  return { measure };
}
