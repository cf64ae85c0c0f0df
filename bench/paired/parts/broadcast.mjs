import { message } from '../../fanout/message.mjs';
import { cpu } from '../../usage.mjs';
import { random, shuffled, takeTurns } from '../turns.mjs';
import { start } from './start.mjs';

/** A slice has at least this number of deliveries, so that it takes some milliseconds. */
const FEWEST_DELIVERIES = 1_000;
/** Every message has more bytes. Clients of one contestant differ by less: by heartbeats, if the machine is so slow that one is due. */
const SHORTEST = 200;
/**
 * All messages of a turn were written after this number of turns of the event loop that were shorter than {@link QUIET_MS}: contestants that let others
 * run between their writes go on in the next turn. Counters of sockets do not tell, since a native writer does not change them.
 */
const QUIET_TURNS = 3;
const QUIET_MS = 0.1;
const TOO_LONG_MS = 10_000;

const immediate = () => new Promise((resolve) => setImmediate(resolve));

/** Resolves when this process has nothing to do. @param {string} name */
async function quiet(name) {
  let at = performance.now();
  const late = at + TOO_LONG_MS;
  for (let turns = 0; turns < QUIET_TURNS; ) {
    await immediate();
    const now = performance.now();
    turns = now - at < QUIET_MS ? turns + 1 : 0;
    at = now;
    if (now > late) {
      throw new Error(`${name}: the messages of one turn take more than ${TOO_LONG_MS} ms`);
    }
  }
}

/**
 * All contestants in this process, each with its clients.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ clients: number, seed: number }} options
 */
export async function create(contestants, load, { clients, seed }) {
  const next = random(seed);
  /** @type {Awaited<ReturnType<typeof start>>[]} */
  const all = [];
  for (const contestant of contestants) {
    all.push(await start('fanout/servers', contestant));
  }
  // None is always the first one in memory.
  const waiting = shuffled(all, next);
  const turns = Math.ceil(FEWEST_DELIVERIES / clients);

  /** Connects the clients of one more contestant. Resolves to whether clients are missing. */
  async function join() {
    const joining = waiting.pop();
    if (joining) {
      const { port, path } = joining;
      await load({ kind: 'join', port, path, connections: clients });
      // The heads of responses do not all have the same length.
      await load({ kind: 'count', port });
    }
    return { more: waiting.length > 0 };
  }

  /** @param {{ perTurn: number, ms: number, fewest: number }} how */
  async function measure({ perTurn, ...how }) {
    let missing = 0;
    /** @param {number} contestant */
    const slice = async (contestant) => {
      const { name, publish } = all[contestant];
      const before = cpu();
      for (let turn = 0; turn < turns; turn++) {
        for (let i = 0; i < perTurn; i++) {
          publish(message());
        }
        await quiet(name);
      }
      const used = cpu().cpu - before.cpu;
      // Nobody reads while a contestant writes, and all has been read when the next one begins.
      const { received } = await load({ kind: 'drain' });
      missing += received < clients * turns * perTurn * SHORTEST ? 1 : 0;
      return (used * 1_000) / (turns * perTurn * clients);
    };
    const blocks = await takeTurns(all.length, slice, { ...how, next });
    if (missing > blocks.length / 10) {
      throw new Error(`${missing} slices in ${blocks.length} blocks ended before everything was written`);
    }
    return { blocks };
  }

  /** Throws if a client has received less than another one, or is gone. */
  async function check() {
    for (const { name, port } of all) {
      const found = await load({ kind: 'check', port });
      if (found.clients !== clients || found.highest - found.lowest >= SHORTEST) {
        throw new Error(`${name}: not every client has received everything: ${JSON.stringify(found)}`);
      }
    }
    return {};
  }

  return { join, measure, check };
}
