import { connect, type Socket } from 'node:net';
import { PLATFORMS, type Platform } from '../support/app.js';
import { range } from '../support/hub.js';
import { ServerProcess } from '../support/server-process.js';

const MB = 1_000_000;

let server: ServerProcess;
const clients: Socket[] = [];

afterEach(() => {
  for (const client of clients.splice(0)) {
    client.destroy();
  }
});

/** Sends a number of requests, each on a separate connection, and does not read the responses. */
async function stall(count: number, pathOf: (i: number) => string, headers = ''): Promise<Socket[]> {
  const sockets = range(1, count).map((i) => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    socket.write(`GET ${pathOf(i)} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`);
    return socket.pause();
  });
  clients.push(...sockets);
  return sockets;
}

/** Reads a number of bytes from a socket, and then stops reading. */
function read(socket: Socket, bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = bytes;
    socket.on('close', () => reject(new Error(`The connection closed before its last ${left} bytes`)));
    socket.on('data', (data: Buffer) => {
      left -= data.length;
      if (left <= 0) {
        socket.removeAllListeners('data').removeAllListeners('close').pause();
        resolve();
      }
    });
    socket.resume();
  });
}

/** Resolves to the number of bytes that a number of streams takes in the process. */
async function heldBy(count: number, open: () => Promise<unknown>): Promise<number> {
  const before = await server.settled(0);
  await open();
  return (await server.settled(count)) - before;
}

describe.each(PLATFORMS)('%s: the heap that is in use', (platform: Platform) => {
  beforeAll(async () => {
    server = await ServerProcess.start(platform);
  }, 60_000);
  afterAll(() => server.stop());

  describe('for readers of a history of 20 MB', () => {
    let first: string;

    beforeAll(async () => {
      first = (await server.call('publish', 'feed', 4_000, 5_000, 'all')) ?? '';
      await server.call('publish', 'feed', 1, 5_000, 'user:1');
    });

    it.each(['', 'Accept-Encoding: gzip\r\n'])(
      'does not grow with the number of their lists of topics, wherever they stop reading: %j',
      async (encoding) => {
        const held = await heldBy(40, async () => {
          const sockets = await stall(
            40,
            (i) => `/feed?topic=all&topic=user:${i}`,
            `Last-Event-ID: ${first}\r\n${encoding}`,
          );
          // Each client stops at another place.
          await Promise.all(sockets.map((socket, i) => read(socket, encoding === '' ? 150_000 * i : 1_000 * i)));
        });

        expect(held).toBeLessThan(40 * MB);
      },
    );
  });

  it.each([
    ['text/event-stream', 200, 5_000],
    ['application/json', 200, 5_000],
    ['application/x-ndjson', 1, 1_000_000],
  ])(
    'for 100 long polls that wait for an earlier response on their connection is little more than one response: %s, %i × %i bytes',
    async (accept, count, size) => {
      const poll = `GET /feed HTTP/1.1\r\nHost: test\r\nAccept: ${accept}\r\nPrefer: wait=50\r\n\r\n`;
      const before = await server.settled(0);
      // An earlier response on their connection does not end.
      const sockets = await stall(5, () => '/endless');
      for (const socket of sockets) {
        socket.write(poll.repeat(20));
      }
      await server.settled(105);
      await server.call('publish', 'feed', count, size);

      await server.below(105, before + 30 * MB);
    },
  );

  it.each(['disconnect', 'drop-oldest', 'drop-newest', 'latest'])(
    'for 10 subscribers that read nothing of 20 MB is no more than one queue, because they share its events: %s',
    async (overflow) => {
      const before = await server.settled(0);
      await stall(10, () => `/live?overflow=${overflow}`);
      await server.settled(10);
      // In several turns, because only events that follow a full buffer enter the queue.
      for (let i = 0; i < 20; i++) {
        await server.call('publish', 'live', 100, 10_000);
      }

      await server.below(overflow === 'disconnect' ? 0 : 10, before + 10 * MB);
    },
  );

  it.each([
    ['a generator without an end', '/endless', '', 6],
    ['one that is compressed with gzip', '/endless', 'Accept-Encoding: gzip\r\n', 12],
    ['one that is compressed with br', '/endless', 'Accept-Encoding: br\r\n', 24],
    ['16 MB that are pushed without a wait, with a queue of 64 KiB', '/pushed', '', 6],
    ['70 000 arrays of one byte, with the queue of 4 MiB', '/tiny', '', 60],
    ['10 000 chunks that wait for a hook', '/hooked', '', 6],
  ])('for 10 clients that read nothing of %s is bounded for each', async (_what, path, headers, most) => {
    const before = await server.settled(0);
    await stall(10, () => path, headers);

    await server.below(10, before + most * MB);
  });

  it('for 100 long polls that wait is less than 40 kB for each', async () => {
    const before = await server.settled(0);
    await stall(100, () => '/feed?topic=none', 'Prefer: wait=50\r\nAccept: text/event-stream\r\n');

    await server.below(100, before + 4 * MB);
  });

  it('for 100 subscribers with 12 kB of ids and topics is less than 200 kB for each', async () => {
    const topics = range(1, 400)
      .map((n) => `topic=t${n}`)
      .join('&');
    const before = await server.settled(0);
    await stall(
      100,
      (i) => `/feed?topic=own${i}&${topics}`,
      `Accept: text/event-stream\r\nLast-Event-ID: ${'x'.repeat(8_000)}\r\n`,
    );

    await server.below(100, before + 20 * MB);
  });

  it('for 3 000 requests that are pipelined on one connection is that of the 1 000 that are accepted', async () => {
    const before = await server.settled(0);
    const [socket] = await stall(1, () => '/endless');
    socket?.write('GET /endless HTTP/1.1\r\nHost: test\r\n\r\n'.repeat(3_000));

    await server.below(1_000, before + 40 * MB);
  });

  it('for 40 streams whose requests have a body of 90 kB is little more than these bodies', async () => {
    const body = JSON.stringify({ prompt: 'x'.repeat(90_000) });
    const before = await server.settled(0);
    const sockets = range(1, 40).map(() => connect(server.port, '127.0.0.1').pause());
    clients.push(...sockets);
    for (const socket of sockets) {
      socket.on('error', () => socket.destroy());
      socket.write(
        `POST /posted HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    }

    await server.below(40, before + 20 * MB);
  });
});
