import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PLATFORMS } from '../support/app.js';
import { range } from '../support/hub.js';
import { ServerProcess } from '../support/server-process.js';

/** Longer than the `sendTimeout` of the route, which is 2 s. */
const LONG_MS = 3_000;

const clients: Socket[] = [];
let server: ServerProcess | undefined;

afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.destroy();
  }
  await server?.stop();
  server = undefined;
});

function open(port: number, path: string): Socket {
  const socket = connect(port, '127.0.0.1');
  // The close reports that the connection was cut.
  socket.on('error', () => socket.destroy());
  socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);
  clients.push(socket);
  return socket;
}

/** Reads a number of further bytes. Rejects if the connection closes before. */
async function reads(socket: Socket, bytes: number): Promise<void> {
  const until = socket.bytesRead + bytes;
  while (socket.bytesRead < until) {
    if (socket.destroyed) {
      throw new Error('The client was cut off');
    }
    await Promise.race([once(socket, 'data'), once(socket, 'close')]);
  }
}

/** Suspends the process for a while. */
const INTERRUPTIONS: readonly ((server: ServerProcess) => Promise<unknown>)[] = [
  async ({ child }) => {
    child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, LONG_MS));
    child.kill('SIGCONT');
  },
  (process) => process.call('block', LONG_MS),
];

describe.each(PLATFORMS)('%s: a process that did not run for longer than sendTimeout', (platform) => {
  it('cuts off no client that reads, and only later a client that does not', async () => {
    server = await ServerProcess.start(platform);
    const { port } = server;
    const steady = range(1, 3).map(() => open(port, '/impatient').resume());
    await Promise.all(steady.map((socket) => reads(socket, 1_000_000)));

    for (const interrupt of INTERRUPTIONS) {
      await interrupt(server);
      await Promise.all(steady.map((socket) => reads(socket, 3_000_000)));
    }
    expect(await server.call('warnings')).toEqual([]);

    const [stalled, ...others] = steady;
    stalled?.pause();
    // Then no other stream waits.
    for (const other of others) {
      other.destroy();
    }
    while ((await server.call('streams')) > 0) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await server.call('warnings')).toEqual([expect.stringContaining('read nothing')]);
  }, 60_000);
});
