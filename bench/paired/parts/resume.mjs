import { message } from '../../fanout/message.mjs';
import { cpu } from '../../usage.mjs';
import { random, takeTurns } from '../turns.mjs';
import { start } from './start.mjs';

/** Events that each client has missed: the whole history of a hub with the default options. */
const EVENTS = 1_000;

/**
 * Clients connect at once, and each receives what it has missed. A slice is the whole of that, from the first connection to the last byte.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ clients: number, seed: number }} options
 */
export async function create(contestants, load, { clients, seed }) {
  const next = random(seed);
  /** @type {(Awaited<ReturnType<typeof start>> & { after: string })[]} */
  const all = [];
  for (const contestant of contestants) {
    const server = await start('fanout/servers', contestant);
    const after = await server.publish(message());
    for (let i = 0; i < EVENTS; i++) {
      await server.publish(message());
    }
    all.push({ ...server, after });
  }

  /** @param {number} contestant */
  const slice = async (contestant) => {
    const { port, path, after } = all[contestant];
    const before = cpu();
    await load({ kind: 'resume', port, path, connections: clients, after, events: EVENTS });
    const used = cpu().cpu - before.cpu;
    await load({ kind: 'leave', port });
    return used;
  };

  /** @param {{ ms: number, fewest: number }} how */
  const measure = async (how) => ({ blocks: await takeTurns(all.length, slice, { ...how, next }) });

  return { measure };
}
