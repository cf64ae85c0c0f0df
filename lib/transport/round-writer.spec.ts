import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { jest } from '@jest/globals';
import { useRoundWriter, writeToAll } from './round-writer.js';

/** Connected pairs of sockets, as server and client. The clients are paused until a test resumes them. */
async function pairs(count: number) {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted: Socket[] = [];
  const clients: Socket[] = [];
  for (let i = 0; i < count; i++) {
    const connection = once(server, 'connection');
    const client = connect({ port, host: '127.0.0.1' });
    client.pause();
    clients.push(client);
    accepted.push(((await connection) as [Socket])[0]);
  }
  return {
    accepted,
    clients,
    close() {
      for (const socket of [...accepted, ...clients]) {
        socket.destroy();
      }
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Reads from a paused socket until it has sent a number of bytes. */
function read(socket: Socket, size: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (text.length >= size) {
        resolve(text);
      }
    });
    socket.resume();
  });
}

describe('The writer of rounds', () => {
  afterEach(() => useRoundWriter(undefined));

  it('writes the bytes to every socket, and reports none if the operating system takes all of them', async () => {
    const { accepted, clients, close } = await pairs(3);

    expect(writeToAll(accepted, Buffer.from('one'))).toBeUndefined();
    accepted[1]?.write('+');
    expect(writeToAll(accepted, Buffer.from('two'))).toBeUndefined();

    expect(await Promise.all(clients.map((client, i) => read(client, i === 1 ? 7 : 6)))).toEqual([
      'onetwo',
      'one+two',
      'onetwo',
    ]);
    await close();
  });

  it('reports the sockets whose queue is full, which emit "drain" when their clients have read it', async () => {
    const { accepted, clients, close } = await pairs(3);
    const [first, stalled, third] = accepted as [Socket, Socket, Socket];
    stalled.write(Buffer.alloc(32_000_000));
    clients[0]?.resume();
    clients[2]?.resume();

    expect(writeToAll(accepted, Buffer.from('one'))).toEqual([1]);
    expect([first.writableLength, third.writableLength]).toEqual([0, 0]);

    const drained = once(stalled, 'drain');
    clients[1]?.resume();
    await drained;
    expect(writeToAll(accepted, Buffer.from('two'))).toBeUndefined();
    await close();
  });

  it('does not throw for a socket that is destroyed, and writes to the others', async () => {
    const { accepted, clients, close } = await pairs(2);
    accepted[0]?.destroy();

    expect(() => writeToAll(accepted, Buffer.from('one'))).not.toThrow();

    expect(await read(clients[1] as Socket, 3)).toBe('one');
    await close();
  });

  it('warns about a replaced write() that throws, closes that connection, and writes to the others', async () => {
    const { accepted, clients, close } = await pairs(2);
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const [broken] = accepted as [Socket];
    const error = once(broken, 'error');
    broken.write = () => {
      throw new Error('a tool failed');
    };

    expect(writeToAll(accepted, Buffer.from('one'))).toBeUndefined();

    expect(warn.mock.calls).toEqual([[expect.stringMatching(/^socket\.write\(\) threw: a tool failed\. /)]]);
    expect(await error).toEqual([new Error('a tool failed')]);
    expect(await read(clients[1] as Socket, 3)).toBe('one');
    warn.mockRestore();
    await close();
  });

  it('can be replaced for the process, and restored', () => {
    const calls: unknown[] = [];
    const bytes = Buffer.from('x');
    useRoundWriter((sockets, written) => {
      calls.push([sockets, written]);
      return [0];
    });
    expect(writeToAll([], bytes)).toEqual([0]);

    useRoundWriter(undefined);
    expect(writeToAll([], bytes)).toBeUndefined();
    expect(calls).toEqual([[[], bytes]]);
  });
});
