import { connect } from 'node:net';
import { now } from './message.mjs';
import { PROTOCOLS } from './protocols.mjs';
import { countMarks, Latencies, readBuffer } from './receipts.mjs';

/** The process of the load generator: clients that hear what is published, and count it. */

/** So many come at once, so that no listen queue overflows. */
const AT_ONCE = 100;
/** So many clients look at when what they are given was published. */
const SAMPLE = 20;
/** What has not come after such a silence never will. */
const PATIENCE_MS = 3_000;
const CHECK_MS = 5;
/**
 * How long it sleeps, while the server is kept busy, after it has read all there is: so that it does not depend on chance how
 * often the server's writes have to wake it up, which is done at the server's expense.
 */
const NAP_MS = 2;

/** @type {Set<import('node:net').Socket>} */
const clients = new Set();
const latencies = new Latencies();
let deliveries = 0;
let lastAt = 0;
let gone = 0;
/** With so many deliveries the publisher is told that a turn has arrived. */
let acknowledgeAt = Number.POSITIVE_INFINITY;
let acknowledgeEvery = Number.POSITIVE_INFINITY;
/** @type {import('node:net').Socket | undefined} */
let publisher;

const bed = new Int32Array(new SharedArrayBuffer(4));

/** Sleeps once per turn of the event loop, as long as turns are acknowledged. */
function nap() {
  if (acknowledgeEvery < Number.POSITIVE_INFINITY) {
    Atomics.wait(bed, 0, 0, NAP_MS);
    setImmediate(nap);
  }
}

/** @param {number} count */
function delivered(count) {
  deliveries += count;
  lastAt = now();
  while (deliveries >= acknowledgeAt) {
    acknowledgeAt += acknowledgeEvery;
    publisher?.write('.');
  }
}

/**
 * One client. Resolves when it is in.
 * @param {{ port: number, path: string, protocol: keyof typeof PROTOCOLS }} server
 * @param {boolean} sampled
 */
function enter({ port, path, protocol }, sampled) {
  const { request, isIn } = PROTOCOLS[protocol];
  const onMark = sampled ? latencies.onMark : undefined;
  return new Promise((resolve, reject) => {
    let inside = false;
    /** @param {number} bytes */
    const callback = (bytes) => {
      if (!inside) {
        inside = isIn(readBuffer.latin1Slice(0, bytes), socket, path);
        if (inside) {
          resolve(undefined);
        }
      }
      const count = countMarks(bytes, onMark);
      if (count > 0) {
        delivered(count);
      }
      return true;
    };
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: readBuffer, callback } });
    clients.add(socket);
    socket.write(request(path));
    socket.on('error', reject).on('close', () => {
      gone += clients.delete(socket) ? 1 : 0;
      reject(new Error('a client was not let in'));
    });
  });
}

/**
 * Clients come. The last one comes when all others are in, so that it is the last one to be served too.
 * @param {{ port: number, path: string, protocol: keyof typeof PROTOCOLS, connections: number }} work
 */
async function join({ connections, ...server }) {
  const first = clients.size;
  const step = Math.ceil(connections / SAMPLE);
  let next = 1;
  const some = async () => {
    while (next < connections) {
      await enter(server, next++ % step === 0);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  await enter(server, true);
  if (clients.size !== first + connections) {
    throw new Error(`${first + connections - clients.size} clients were sent away`);
  }
}

/**
 * Counts from now on.
 * @param {{ ackPort: number, turn?: number }} work `turn`: how many deliveries a turn is, if the publisher waits for them
 */
async function begin({ ackPort, turn = Number.POSITIVE_INFINITY }) {
  deliveries = 0;
  gone = 0;
  latencies.clear();
  acknowledgeEvery = turn;
  acknowledgeAt = turn;
  publisher?.destroy();
  publisher = connect({ port: ackPort, host: '127.0.0.1', noDelay: true });
  publisher.on('error', () => undefined);
  await new Promise((resolve) => publisher?.once('connect', resolve));
  setImmediate(nap);
}

/**
 * Waits for what was published, and tells what has come of it.
 * @param {{ count: number }} work
 */
async function finish({ count }) {
  const began = now();
  while (deliveries < count && now() - Math.max(lastAt, began) < PATIENCE_MS * 1_000) {
    await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
  }
  acknowledgeEvery = Number.POSITIVE_INFINITY;
  return { deliveries, lastAt, gone, p50: latencies.quantile(0.5), p99: latencies.quantile(0.99) };
}

/** All clients go. */
function leave() {
  for (const socket of [...clients]) {
    clients.delete(socket);
    socket.destroy();
  }
}

/** @type {Record<string, (work: any) => unknown>} */
const KINDS = { join, begin, finish, leave };

process.on('disconnect', () => process.exit());
process.on('message', async (/** @type {{ kind: string }} */ { kind, ...work }) => {
  try {
    process.send?.({ ...(await KINDS[kind](work)) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({ ready: true });
