import { all, answerEnd, get, open, streams } from './http.mjs';
import { quantile } from './statistics.mjs';

/** The process of the load generator. It parses nothing: it only finds the end of each response. */

/**
 * @typedef {object} Work
 * @property {number} port
 * @property {string} path
 * @property {number} connections
 */

/**
 * Sends requests one after the other on each connection.
 * @param {Work & { count: number }} work
 */
async function requests({ port, path, connections, count }) {
  const request = get(path, 'keep-alive');
  let left = count - connections;
  await all(connections, (resolve, reject) => {
    const isOver = answerEnd();
    const socket = open(port, request, (bytes) => {
      if (isOver(bytes)) {
        if (left-- > 0) {
          socket.write(request);
        } else {
          socket.destroy();
        }
      }
    });
    socket.on('error', reject).on('close', resolve);
  });
  if (left > 0) {
    throw new Error(`${path}: the server closed its connections`);
  }
}

/**
 * Sends one request after the other, each on a new connection, and disconnects at the first bytes of the response.
 * @param {Work & { first: number, count: number }} work `*` in the path is the number of the request
 */
async function firstBytes({ port, path, first, count }) {
  const times = [];
  for (let index = first; index < first + count; index++) {
    times.push(await firstByte(port, numbered(path, index)));
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

/**
 * Returns the time from a request on an open connection to the first bytes of the response, in milliseconds.
 * @param {number} port
 * @param {string} path
 * @returns {Promise<number>}
 */
const firstByte = (port, path) =>
  new Promise((resolve, reject) => {
    let began = 0;
    let ended = 0;
    const socket = open(port, '', () => {
      ended ||= performance.now();
      socket.destroy();
    });
    socket.on('connect', () => {
      began = performance.now();
      socket.write(get(path, 'keep-alive'));
    });
    socket.on('error', reject).on('close', () => resolve(ended - began));
  });

/**
 * @param {string} path
 * @param {number} index
 */
const numbered = (path, index) => path.replace('*', `${index}`);

/** @type {Set<import('node:net').Socket>} */
const held = new Set();
/** The bytes that were read from the streams that are kept open. */
let received = 0;

/**
 * Opens streams and keeps them open. Resolves when each has received its first bytes.
 * @param {Work} work `*` in the path is the number of the stream
 */
async function hold({ port, path, connections }) {
  await all(connections, (resolve, reject, index) => {
    const socket = open(port, get(numbered(path, index), 'keep-alive'), (bytes) => {
      received += bytes;
      resolve();
    });
    held.add(socket);
    socket.on('error', reject).on('close', () => held.delete(socket));
  });
}

/** Disconnects from all streams that are kept open. */
function release() {
  for (const socket of held) {
    socket.destroy();
  }
}

/** @type {Record<string, (work: any) => unknown>} */
const KINDS = { streams, requests, firstBytes, hold, release, received: () => ({ received, open: held.size }) };

process.on('disconnect', () => process.exit());
process.on('message', async (/** @type {{ kind: string }} */ { kind, ...work }) => {
  const began = performance.now();
  try {
    const result = await KINDS[kind](work);
    process.send?.({ ...result, ms: performance.now() - began });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({ ready: true });
