import { cpu } from '../../usage.mjs';
import { random, takeTurns } from '../turns.mjs';
import { startAll } from './start.mjs';

/**
 * One stream after the other, each with many chunks and on a new connection. The load generator reads at the same time, so that there is backpressure.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ seed: number }} options
 */
export async function create(contestants, load, { seed }) {
  const next = random(seed);
  const all = await startAll(contestants);

  /** @param {number} contestant */
  const slice = async (contestant) => {
    const { port, path, chunks } = all[contestant];
    const before = cpu();
    await load({ kind: 'streams', port, path: `${path}/${chunks}`, connections: 1 });
    return ((cpu().cpu - before.cpu) * 1_000) / chunks;
  };

  /** @param {{ ms: number, fewest: number }} how */
  const measure = async (how) => ({ blocks: await takeTurns(all.length, slice, { ...how, next }) });

  return { measure };
}
