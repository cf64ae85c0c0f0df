import { readSync, writeSync } from 'node:fs';
import { countMarks, Latencies, readBuffer } from '../fanout/receipts.mjs';
import { answerEnd, get, open, streams } from '../http.mjs';

/**
 * The process of the load generator. The server starts it, and tells it what to do through a pipe. While it has nothing to do, it
 * waits in a blocking read of that pipe and not for its sockets, so that the writes of the server do not wake it up, and neither of them disturbs the other.
 */

const STDIN = 0;
const STDOUT = 1;
/** The number of clients that connect at once, so that no listen queue overflows. */
const AT_ONCE = 100;
/** All data was read after this number of turns of the event loop in which none arrived. */
const QUIET_TURNS = 3;
/** How long streams run before their latencies are measured. */
const SETTLE_MS = 300;

/** @typedef {{ socket: import('node:net').Socket, bytes: number }} Client */

/** The clients of each port. @type {Map<number, Set<Client>>} */
const clients = new Map();
let reads = 0;
/** The bytes that clients have received. */
let received = 0;

/** @param {number} port */
function clientsOf(port) {
  const all = clients.get(port) ?? new Set();
  clients.set(port, all);
  return all;
}

/**
 * Connects a client. Resolves when it has received its first bytes.
 * @param {number} port
 * @param {string} request
 */
const enter = (port, request) =>
  new Promise((resolve, reject) => {
    const socket = open(port, request, (bytes) => {
      reads++;
      received += bytes;
      client.bytes += bytes;
      resolve(undefined);
    });
    const client = { socket, bytes: 0 };
    const others = clientsOf(port).add(client);
    socket.on('error', reject).on('close', () => {
      others.delete(client);
      reject(new Error('a client was not let in'));
    });
  });

/**
 * Connects clients that receive what the server sends.
 * @param {{ port: number, path: string, connections: number }} work
 */
async function join({ port, path, connections }) {
  const request = get(path, 'keep-alive');
  let left = connections;
  const some = async () => {
    while (left-- > 0) {
      await enter(port, request);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
}

/** Reads until nothing is left. Resolves to the number of bytes that clients have received since the last time. */
function drain() {
  let quiet = 0;
  let before = reads;
  return new Promise((resolve) => {
    const turn = () => {
      quiet = reads === before ? quiet + 1 : 0;
      before = reads;
      if (quiet === QUIET_TURNS) {
        resolve({ received });
        received = 0;
      } else {
        setImmediate(turn);
      }
    };
    turn();
  });
}

/**
 * Reads what comes within some time.
 * @param {{ ms: number }} work
 */
const rest = ({ ms }) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Returns the number of clients of a port, and the lowest and highest number of bytes that one of them has received since `count()`.
 * @param {{ port: number }} work
 */
function check({ port }) {
  const bytes = [...clientsOf(port)].map((client) => client.bytes);
  return { clients: bytes.length, lowest: Math.min(...bytes), highest: Math.max(...bytes) };
}

/** Begins to count what the clients of a port receive. @param {{ port: number }} work */
async function count({ port }) {
  await drain();
  for (const client of clientsOf(port)) {
    client.bytes = 0;
  }
}

/** Disconnects the clients of a port. @param {{ port: number }} work */
async function leave({ port }) {
  for (const { socket } of clientsOf(port)) {
    socket.destroy();
  }
  clients.delete(port);
  await drain();
}

/**
 * Connects clients that have missed events. Resolves when all of them have received all. The end of each event is a byte that occurs nowhere else.
 * @param {{ port: number, path: string, connections: number, after: string, events: number }} work
 */
async function resume({ port, path, connections, after, events }) {
  const request = get(path, 'keep-alive', `Last-Event-ID: ${after}\r\n`);
  const others = clientsOf(port);
  let left = connections;
  const some = async () => {
    while (left-- > 0) {
      await catchUp(port, request, others, events);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
}

/** @param {number} port @param {string} request @param {Set<Client>} others @param {number} events */
const catchUp = (port, request, others, events) =>
  new Promise((resolve, reject) => {
    let missing = events;
    const onBytes = (/** @type {number} */ bytes) => {
      missing -= countMarks(bytes);
      if (missing <= 0) {
        resolve(undefined);
      }
    };
    const socket = open(port, request, onBytes, readBuffer);
    others.add({ socket, bytes: 0 });
    socket.on('error', reject).on('close', () => reject(new Error('a client was not let in')));
  });

/** @typedef {{ ask(): Promise<void> }} Caller a connection that is kept alive */

/** The kept connections, by port and path. @type {Map<string, Caller[]>} */
const callers = new Map();

/**
 * @param {number} port
 * @param {string} path
 * @returns {Caller}
 */
function caller(port, path) {
  const request = get(path, 'keep-alive');
  const isOver = answerEnd();
  /** @type {() => void} */
  let resolve;
  /** @type {(error: Error) => void} */
  let reject;
  /** @type {import('node:net').Socket | undefined} */
  let socket;
  return {
    ask: () =>
      new Promise((onAnswer, onError) => {
        resolve = () => onAnswer(undefined);
        reject = onError;
        if (socket) {
          socket.write(request);
          return;
        }
        socket = open(port, request, (bytes) => isOver(bytes) && resolve());
        socket.on('error', (error) => reject(error));
        socket.on('close', () => {
          socket = undefined;
          reject(new Error(`${path}: the server closed its connection`));
        });
      }),
  };
}

/**
 * Sends requests one after the other on each of some connections, which are kept.
 * @param {{ port: number, path: string, connections: number, count: number }} work
 */
async function requests({ port, path, connections, count }) {
  const key = `${port}${path}`;
  const kept = callers.get(key) ?? Array.from({ length: connections }, () => caller(port, path));
  callers.set(key, kept);
  let left = count;
  await Promise.all(
    kept.map(async (each) => {
      while (left-- > 0) {
        await each.ask();
      }
    }),
  );
}

/**
 * Reads streams of messages for some time, and resolves to how late they have arrived, in microseconds.
 * @param {{ port: number, path: string, connections: number, beside: string, ms: number }} work `beside`: the path of another stream that is read, or nothing
 */
async function latencies({ port, path, connections, beside, ms }) {
  const late = new Latencies();
  const onBytes = (/** @type {number} */ bytes) => countMarks(bytes, late.onMark);
  const request = get(path, 'close');
  const sockets = Array.from({ length: connections }, () => open(port, request, onBytes, readBuffer));
  if (beside !== '') {
    sockets.push(open(port, get(beside, 'close'), () => undefined));
  }
  await rest({ ms: SETTLE_MS });
  late.clear();
  await rest({ ms });
  for (const socket of sockets) {
    socket.destroy();
  }
  return { p50: late.quantile(0.5), p99: late.quantile(0.99) };
}

/** @type {Record<string, (work: any) => unknown>} */
const KINDS = { join, drain, rest, count, check, leave, resume, requests, streams, latencies };

const byte = Buffer.alloc(1);

/** Waits for the next line of the server. Returns `undefined` if the server has ended. */
function nextLine() {
  let line = '';
  while (readSync(STDIN, byte) > 0) {
    if (byte[0] === 10) {
      return line;
    }
    line += byte.latin1Slice();
  }
  return undefined;
}

for (let line = nextLine(); line !== undefined; line = nextLine()) {
  const { kind, ...work } = JSON.parse(line);
  let answer;
  try {
    answer = (await KINDS[kind](work)) ?? {};
  } catch (error) {
    answer = { error: String(error) };
  }
  writeSync(STDOUT, `${JSON.stringify(answer)}\n`);
}
process.exit();
