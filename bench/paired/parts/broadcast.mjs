import { once } from 'node:events';
import { message } from '../../fanout/message.mjs';
import { cpu } from '../../usage.mjs';
import { random, shuffled, takeTurns } from '../turns.mjs';

/** A slice has at least this number of deliveries, so that it takes some milliseconds. */
const FEWEST_DELIVERIES = 1_000;
/** Every message has more bytes. Clients differ by less: by heartbeats, if the machine is so slow that one is due. */
const SHORTEST = 200;
/** A turn that takes longer than this was not passed on at all. */
const TOO_LONG_MS = 10_000;

const immediate = () => new Promise((resolve) => setImmediate(resolve));

/**
 * @typedef {object} Broadcaster
 * @property {string} name
 * @property {string} path
 * @property {number} port
 * @property {import('node:net').Socket[]} sockets
 * @property {(message: object) => unknown} publish
 */

/** @param {import('../contestants.mjs').PairedContestant} contestant @returns {Promise<Broadcaster>} */
async function start({ name, server: [file, create], path, other }) {
  const module = await import(`../../fanout/servers/${file}.mjs${other ? '?other' : ''}`);
  const { server, publish } = await module[create]();
  /** @type {import('node:net').Socket[]} */
  const sockets = [];
  server.on('connection', (/** @type {import('node:net').Socket} */ socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { name, path, port: server.address().port, sockets, publish };
}

/**
 * Publishes turns, one after the other, and returns the CPU time in microseconds. A turn is over when the clients that connected first and last were
 * written to: contestants write to others in between.
 * @param {Broadcaster} to
 * @param {number} turns
 * @param {number} perTurn
 */
async function publish({ name, sockets, publish }, turns, perTurn) {
  const first = sockets[0];
  const last = sockets[sockets.length - 1];
  const before = cpu();
  for (let turn = 0; turn < turns; turn++) {
    const late = performance.now() + TOO_LONG_MS;
    const toFirst = first.bytesWritten;
    const toLast = last.bytesWritten;
    for (let i = 0; i < perTurn; i++) {
      publish(message());
    }
    do {
      await immediate();
      if (performance.now() > late) {
        throw new Error(`${name}: a message was not sent`);
      }
    } while (first.bytesWritten === toFirst || last.bytesWritten === toLast);
  }
  return cpu().cpu - before.cpu;
}

/**
 * All contestants in this process, each with its clients.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {ReturnType<typeof import('../load-process.mjs').startLoad>} load
 * @param {{ clients: number, seed: number }} options
 */
export async function create(contestants, load, { clients, seed }) {
  const next = random(seed);
  const all = await Promise.all(contestants.map(start));
  // None is always the first one in memory.
  const waiting = shuffled(all, next);
  const turns = Math.ceil(FEWEST_DELIVERIES / clients);

  /** @param {{ perTurn: number, ms: number, fewest: number }} how */
  async function measure({ perTurn, ms, fewest }) {
    /** @param {number} contestant */
    const slice = async (contestant) => {
      const used = await publish(all[contestant], turns, perTurn);
      // Nobody reads while a contestant writes, and all has been read when the next one begins.
      await load({ kind: 'drain' });
      return (used * 1_000) / (turns * perTurn * clients);
    };
    return { blocks: await takeTurns(all.length, slice, { ms, fewest, next }) };
  }

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
