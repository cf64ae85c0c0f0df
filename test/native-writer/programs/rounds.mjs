// Writes thousands of rounds with the native writer to connections that come, stall, drain, end and break, and compares every byte that a client receives.
//
//   node rounds.mjs <index.js of the package> <rounds> <seed>
import assert from 'node:assert';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [file, rounds, seed] = process.argv.slice(2);
const { createWriter } = await import(pathToFileURL(file));

/** The number of connections at one time. */
const CONNECTIONS = 40;
/** A connection that stalls does so for at most this number of rounds, so that what waits for it stays small. */
const LONGEST_STALL = 30;
const SMALL = 300;
/** More than fits into the buffers of a connection. It is written to few connections, as the bytes take time. */
const LARGE = 5_000_000;
const ROUNDS_PER_LARGE = 60;
const MEMBERS_OF_LARGE = 3;

/** Pseudo-random numbers from 0 to below a limit (mulberry32), so that a failure can be repeated. */
let state = Number(seed);
function random(limit) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % limit;
}

const figures = { rounds: 0, sent: 0, handedOver: 0, full: 0, ended: 0, broken: 0, opened: 0, bytes: 0 };

const write = createWriter((socket, bytes) => {
  figures.handedOver++;
  // A write after end() would destroy the socket, and the bytes that wait in it.
  if (socket.writable) {
    socket.write(bytes);
  }
  return socket.writableLength >= socket.writableHighWaterMark;
});

/** The two ends of a connection, and what its client has to receive. */
class Pair {
  expected = [];
  received = 0;
  stalledFor = 0;
  /** Whether the client has to receive all bytes. */
  complete = false;

  constructor(server, client) {
    this.server = server;
    this.client = client;
    const closed = [server, client].map((socket) => {
      socket.on('error', () => undefined);
      return new Promise((resolve) => socket.on('close', resolve));
    });
    this.closed = Promise.all(closed);
    server.resume();
    client.on('data', (data) => this.compare(data));
    client.on('end', () => client.end());
  }

  expect(bytes) {
    this.expected.push(bytes);
  }

  /** Compares received bytes with the first expected bytes, and forgets those. */
  compare(data) {
    this.received += data.length;
    figures.bytes += data.length;
    for (let at = 0; at < data.length; ) {
      const next = this.expected[0];
      assert(next, `a connection received ${data.length - at} bytes that were not for it`);
      const length = Math.min(next.length, data.length - at);
      assert(next.subarray(0, length).equals(data.subarray(at, at + length)), 'a connection received other bytes');
      at += length;
      if (length === next.length) {
        this.expected.shift();
      } else {
        this.expected[0] = next.subarray(length);
      }
    }
  }
}

const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
await once(server, 'listening');

async function open() {
  const accepted = once(server, 'connection');
  const client = connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen: true });
  const [[socket]] = await Promise.all([accepted, once(client, 'connect')]);
  figures.opened++;
  return new Pair(socket, client);
}

/** What can happen to a connection before a round. Each returns whether the connection is over. */
const events = [
  ({ client }) => void client.pause(),
  ({ client }) => void client.pause(),
  ({ client }) => void client.resume(),
  // A write by other code, such as a heartbeat.
  (pair) => {
    const bytes = Buffer.from(`own write ${pair.received}`);
    pair.expect(bytes);
    pair.server.write(bytes);
  },
  // Corked, until the next turn.
  (pair) => {
    pair.server.cork();
    process.nextTick(() => pair.server.uncork());
  },
  // The client ends its half, and still reads.
  ({ client }) => void client.end(),
  // The server ends: the client receives all bytes.
  (pair) => {
    pair.server.end();
    pair.client.resume();
    figures.ended++;
    pair.complete = true;
    return true;
  },
  ({ client }) => {
    client.destroy();
    figures.broken++;
    return true;
  },
  ({ client }) => {
    client.resetAndDestroy();
    figures.broken++;
    return true;
  },
  ({ server: socket, client }) => {
    socket.destroy();
    client.resume();
    figures.broken++;
    return true;
  },
];

const pairs = [];
const over = [];
for (let round = 0; round < Number(rounds); round++) {
  while (pairs.length < CONNECTIONS) {
    pairs.push(await open());
  }
  const isLarge = random(ROUNDS_PER_LARGE) === 0;
  const bytes = Buffer.alloc(isLarge ? LARGE : 1 + random(SMALL), `${round},`);
  // Sockets that are closed now remain in the list, as if they had closed during the round.
  const members = isLarge ? pairs.slice(0, MEMBERS_OF_LARGE) : [...pairs];
  for (let i = random(3); i > 0; i--) {
    const at = random(pairs.length);
    if (events[random(events.length)](pairs[at])) {
      over.push(...pairs.splice(at, 1));
    }
  }
  for (const pair of members.filter(({ server: { writable } }) => writable)) {
    pair.expect(bytes);
  }
  figures.rounds++;
  figures.sent += members.length;
  figures.full +=
    write(
      members.map(({ server: socket }) => socket),
      bytes,
    )?.length ?? 0;
  for (const pair of pairs) {
    pair.stalledFor = pair.client.isPaused() ? pair.stalledFor + 1 : 0;
    if (pair.stalledFor > LONGEST_STALL) {
      pair.client.resume();
    }
  }
  if (random(3) === 0) {
    await nextTurn();
  }
}
for (const pair of pairs) {
  pair.complete = true;
  pair.server.end();
  pair.client.resume();
}
server.close();
for (const pair of [...over, ...pairs]) {
  if (!pair.complete) {
    // Its client has gone, perhaps with a half-close, after which the server could still write.
    pair.server.destroy();
  }
  await pair.closed;
  assert(!pair.complete || pair.expected.length === 0, 'a connection did not receive all bytes');
}
console.log(JSON.stringify(figures));
