import { connect } from 'node:net';
import { Frames } from './frames.mjs';
import { KeptStream, liveStream } from './gzip.mjs';
import { now } from './message.mjs';
import { PROTOCOLS } from './protocols.mjs';
import { countMarks, countMarksOf, Latencies, readBuffer } from './receipts.mjs';

/** The process of the load generator: clients that receive messages and count them. */

/** The number of clients that connect at once, so that no listen queue overflows. */
const AT_ONCE = 100;
/** The number of clients that measure the latency. */
const SAMPLE = 20;
/** Messages that have not arrived after this silence are missing. */
const PATIENCE_MS = 3_000;
const CHECK_MS = 5;
/** How often kept data is decompressed again if messages are missing in it. */
const LOOKS = 10;
const LOOK_MS = 300;
/**
 * How long the load generator sleeps after it has read all data of a busy server. Without this, it would depend on chance how
 * often the writes of the server wake it up, and the server would pay for that.
 */
const NAP_MS = 2;

/** @type {Set<import('node:net').Socket>} */
const clients = new Set();
const latencies = new Latencies();
/** The compressed data of clients that do not belong to the sample. It is decompressed at the end. @type {Set<KeptStream>} */
const kept = new Set();
let keptBefore = 0;
let deliveries = 0;
let received = 0;
let lastAt = 0;
let gone = 0;
/** The number of deliveries after which a turn is acknowledged. */
let acknowledgeAt = Number.POSITIVE_INFINITY;
let acknowledgeEvery = Number.POSITIVE_INFINITY;
/** @type {import('node:net').Socket | undefined} */
let publisher;

const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
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
  if (count === 0) {
    return;
  }
  deliveries += count;
  lastAt = now();
  while (deliveries >= acknowledgeAt) {
    acknowledgeAt += acknowledgeEvery;
    publisher?.write('.');
  }
}

/** @typedef {(bytes: number) => void} Reader is called with the number of bytes in the buffer */
/** @typedef {(socket: import('node:net').Socket, onMark: ((mark: number) => void) | undefined, protocol: import('./protocols.mjs').Protocol) => Reader} MakeReader */

/** The ways to count messages. Only clients of the sample have `onMark`. @type {Record<'marks' | 'frames' | 'gzip', MakeReader>} */
const READERS = {
  marks: (_socket, onMark) => (bytes) => delivered(countMarks(bytes, onMark)),
  frames: (socket, onMark, { answer }) => {
    const frames = new Frames((frame) => socket.write(frame), answer);
    return (bytes) => {
      if (onMark) {
        countMarks(bytes, onMark);
      }
      delivered(frames.count(readBuffer, bytes));
    };
  },
  gzip: (socket, onMark) => {
    if (onMark) {
      const read = liveStream(
        (text) => delivered(countMarksOf(text, onMark)),
        (error) => socket.destroy(error),
      );
      return (bytes) => read(readBuffer.subarray(0, bytes));
    }
    const stream = new KeptStream();
    kept.add(stream);
    return (bytes) => {
      stream.read(readBuffer.subarray(0, bytes));
      lastAt = now();
    };
  },
};

/**
 * Connects one client. Resolves when it is accepted.
 * @param {{ port: number, path: string, protocol: keyof typeof PROTOCOLS }} server
 * @param {boolean} sampled
 */
function enter({ port, path, protocol }, sampled) {
  const { request, welcome, isIn, counts } = PROTOCOLS[protocol];
  return new Promise((resolve, reject) => {
    let accepted = false;
    let inside = false;
    /** @param {number} bytes */
    const callback = (bytes) => {
      received += bytes;
      if (!inside) {
        const text = readBuffer.latin1Slice(0, bytes);
        if (!accepted && !(welcome.test(text) && text.includes('\r\n\r\n'))) {
          socket.destroy(new Error(`a client was not let in: ${text.slice(0, 300)}`));
          return false;
        }
        accepted = true;
        inside = isIn(text, socket, path);
        if (inside) {
          resolve(undefined);
        }
      }
      read(bytes);
      return true;
    };
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: readBuffer, callback } });
    const read = READERS[counts](socket, sampled ? latencies.onMark : undefined, PROTOCOLS[protocol]);
    clients.add(socket);
    socket.write(request(path));
    socket.on('error', reject).on('close', () => {
      gone += clients.delete(socket) ? 1 : 0;
      reject(new Error('a client was not let in'));
    });
  });
}

/**
 * Connects clients. The last one connects after all others, so that the server also writes to it last.
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

/** How many of the kept streams are decompressed at once. */
const liveShare = () => (clients.size - kept.size) / clients.size;

/** Returns the number of messages in the kept streams. */
const countKept = () => [...kept].reduce((total, stream) => total + stream.count(), 0);

/**
 * Starts counting.
 * @param {{ ackPort: number, turn?: number }} work `turn`: how many deliveries a turn is, if the publisher waits for them
 */
async function begin({ ackPort, turn = Number.POSITIVE_INFINITY }) {
  keptBefore = countKept();
  deliveries = 0;
  received = 0;
  gone = 0;
  latencies.clear();
  acknowledgeEvery = Math.round(turn * liveShare());
  acknowledgeAt = acknowledgeEvery;
  publisher?.destroy();
  publisher = connect({ port: ackPort, host: '127.0.0.1', noDelay: true });
  publisher.on('error', () => undefined);
  await new Promise((resolve) => publisher?.once('connect', resolve));
  setImmediate(nap);
}

/**
 * Waits for the published messages, and returns the results.
 * @param {{ count: number }} work
 */
async function finish({ count }) {
  const began = now();
  const live = Math.round(count * liveShare());
  while (deliveries < live && now() - Math.max(lastAt, began) < PATIENCE_MS * 1_000) {
    await later(CHECK_MS);
  }
  acknowledgeEvery = Number.POSITIVE_INFINITY;
  let all = deliveries + countKept() - keptBefore;
  for (let looks = 0; all < count && kept.size > 0 && looks < LOOKS; looks++) {
    await later(LOOK_MS);
    all = deliveries + countKept() - keptBefore;
  }
  return { deliveries: all, received, lastAt, gone, p50: latencies.quantile(0.5), p99: latencies.quantile(0.99) };
}

/** Disconnects all clients. */
function leave() {
  kept.clear();
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
