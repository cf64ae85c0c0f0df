import { message } from '../../fanout/message.mjs';
import { cpu } from '../../usage.mjs';
import { start } from './start.mjs';

const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Measures every turn of the event loop for some time, and returns the longest one, in milliseconds. The CPU time of a turn is how long it holds the loop on a
 * machine that does nothing else.
 * @param {number} ms
 */
function longestTurn(ms) {
  const longest = { cpu: 0, wall: 0 };
  const end = performance.now() + ms;
  let at = performance.now();
  let used = cpu().cpu;
  return new Promise((resolve) => {
    const turn = () => {
      const now = performance.now();
      const usedNow = cpu().cpu;
      longest.cpu = Math.max(longest.cpu, (usedNow - used) / 1_000);
      longest.wall = Math.max(longest.wall, now - at);
      at = now;
      used = usedNow;
      if (now < end) {
        setImmediate(turn);
      } else {
        resolve(longest);
      }
    };
    setImmediate(turn);
  });
}

/**
 * One contestant, whose clients are silent after one message.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ clients: number }} options
 */
export async function create([contestant], load, { clients }) {
  const { port, path, publish } = await start('fanout/servers', contestant);

  async function join() {
    await load({ kind: 'join', port, path, connections: clients });
    publish(message());
    await later(2_000);
    await load({ kind: 'drain' });
    globalThis.gc?.();
    return { more: false };
  }

  /**
   * Resolves to the share of a core that is used, or to the longest turn of the event loop.
   * @param {{ ms: number, kind: 'share' | 'turns' }} how
   */
  async function measure({ ms, kind }) {
    await load({ kind: 'count', port });
    const before = cpu();
    const began = performance.now();
    const reading = load({ kind: 'rest', ms });
    const longest = kind === 'turns' ? await longestTurn(ms) : await later(ms);
    const share = (cpu().cpu - before.cpu) / (performance.now() - began) / 1_000;
    await reading;
    const found = await load({ kind: 'check', port });
    if (found.clients !== clients || found.lowest === 0) {
      throw new Error(`${contestant.name}: not every client has received a heartbeat: ${JSON.stringify(found)}`);
    }
    return kind === 'turns' ? longest : { share };
  }

  return { join, measure };
}
