import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { PLATFORMS } from '../support/app.js';
import { RawClient } from '../support/raw-client.js';
import { HANDSHAKE, maskedFrame } from '../support/websocket-frames.js';

const SERVER = fileURLToPath(new URL('../support/websocket-server.mjs', import.meta.url));
const CLIENTS = 25;
/** The maximum number of bytes that one client may take, whatever it sends. An idle client takes less than 20 000. */
const MOST = 400_000;
const TEST_MS = 120_000;

const text = (payload: string, fin = true) => maskedFrame({ opcode: 1, payload, fin });
const more = (payload: string) => maskedFrame({ opcode: 0, payload, fin: false });
const pong = (size: number) => maskedFrame({ opcode: 10, payload: 'x'.repeat(size) });
const binary = (payload: string) => maskedFrame({ opcode: 2, payload });

/** Sends pieces, with pauses, so that the server most likely reads each separately. */
async function inPieces(client: RawClient, pieces: Iterable<Buffer>): Promise<void> {
  client.socket.setNoDelay();
  let count = 0;
  for (const piece of pieces) {
    client.socket.write(piece);
    if (++count % 4 === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (client.socket.destroyed) {
      return;
    }
  }
}

const ATTACKS: readonly (readonly [what: string, path: string, send: (client: RawClient) => unknown])[] = [
  [
    'an unfinished message of 16 001 fragments of one byte',
    '/unread',
    (client) => client.socket.write(Buffer.concat([text('x', false), ...Array<Buffer>(16_000).fill(more('x'))])),
  ],
  [
    'an unfinished message with 40 kB of pongs after each fragment',
    '/unread',
    async (client) => {
      const pongs = Buffer.concat(Array<Buffer>(320).fill(pong(125)));
      client.socket.write(text('x', false));
      for (let i = 0; i < 200 && !client.socket.destroyed; i++) {
        client.socket.write(Buffer.concat([more('x'), pongs]));
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  ],
  [
    'an unfinished frame of 60 000 bytes, byte by byte',
    '/unread',
    (client) => {
      const bytes = maskedFrame({ opcode: 2, payload: 'x'.repeat(60_000) });
      return inPieces(
        client,
        Array.from({ length: 12_000 }, (_, at) => bytes.subarray(at, at + 1)),
      );
    },
  ],
  [
    '9 000 messages of one byte, which nobody reads',
    '/unread',
    (client) => client.socket.write(Buffer.concat(Array<Buffer>(9_000).fill(binary('x')))),
  ],
  [
    '63 messages of one byte, each of which comes with 60 kB of pongs',
    '/unread',
    async (client) => {
      const pongs = Buffer.concat(Array<Buffer>(460).fill(pong(125)));
      for (let i = 0; i < 63; i++) {
        client.socket.write(Buffer.concat([binary('x'), pongs]));
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  ],
  [
    '12 000 bytes before it is answered, byte by byte',
    '/unanswered',
    (client) => inPieces(client, Array<Buffer>(12_000).fill(Buffer.from('x'))),
  ],
  [
    'a flood of pings, of which it does not read the answers',
    '/unread',
    async (client) => {
      client.socket.pause();
      const pings = Buffer.concat(Array<Buffer>(5_000).fill(maskedFrame({ opcode: 9, payload: '' })));
      for (let i = 0; i < 60; i++) {
        client.socket.write(pings);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  ],
];

describe.each(PLATFORMS)('%s: the memory that a WebSocket client takes is bounded', (platform) => {
  let server: ChildProcess;
  let port: number;
  const clients: RawClient[] = [];

  const memory = async (): Promise<number> => {
    server.send('measure');
    const [bytes] = await once(server, 'message');
    return bytes as number;
  };

  /** Waits until the server has read all data: until its memory no longer changes. */
  const settled = async (): Promise<number> => {
    for (let last = await memory(); ; ) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const now = await memory();
      if (Math.abs(now - last) < 50_000) {
        return now;
      }
      last = now;
    }
  };

  beforeAll(async () => {
    server = fork(SERVER, [platform], { execArgv: ['--expose-gc'] });
    [port] = (await once(server, 'message')) as [number];
  }, TEST_MS);
  afterEach(async () => {
    for (const client of clients.splice(0)) {
      client.disconnect();
      await client.closed();
    }
  });
  afterAll(async () => {
    server.kill();
    await once(server, 'close');
  });

  it.each(ATTACKS)(
    'when it sends %s',
    async (_what, path, send) => {
      // Code and objects that all clients share do not count.
      for (const round of ['warm-up', 'measured']) {
        const before = await settled();
        for (let i = 0; i < CLIENTS; i++) {
          const client = await RawClient.get(port, path, HANDSHAKE);
          clients.push(client);
          if (path === '/unread') {
            await client.until('open');
          }
        }
        await Promise.all(clients.map(send));

        const cost = ((await settled()) - before) / CLIENTS;
        if (round === 'measured') {
          expect(cost).toBeLessThan(MOST);
        }
        for (const client of clients.splice(0)) {
          client.disconnect();
          await client.closed();
        }
      }
    },
    TEST_MS,
  );
});
