import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type RoundWriter, writeTo } from '../../lib/transport/round-writer.js';
import { buildAddon, NODE_GYP_TOOLS, nodeGypTools, sanitizerEnvironment } from '../support/node-gyp.js';
import { describeWith } from '../support/tools.js';
import { BUILD_TIMEOUT, buildNative, loadNative } from './support.js';

const PROGRAM = fileURLToPath(new URL('programs/rounds.mjs', import.meta.url));
const NATIVE = fileURLToPath(new URL('../../native/', import.meta.url));
const pem = (name: string) => readFileSync(new URL(`../support/tls/${name}.pem`, import.meta.url));
/** More than the buffers of a connection take. */
const LARGE = Buffer.alloc(12_000_000, 'large ');

describeWith(NODE_GYP_TOOLS, nodeGypTools())('The native writer', () => {
  let write: RoundWriter;
  /** The bytes that it left to the sockets, as text and in order. */
  const left: string[] = [];
  const open: { destroy(): void }[] = [];

  beforeAll(async () => {
    const { createWriter } = await loadNative();
    write = (createWriter as NonNullable<typeof createWriter>)((socket, bytes) => {
      left.push(bytes.length > 100 ? `${bytes.length} bytes` : bytes.toString());
      return writeTo(socket, bytes);
    });
  }, BUILD_TIMEOUT);

  afterEach(() => {
    left.splice(0);
    for (const each of open.splice(0)) {
      each.destroy();
    }
  });

  /** The two ends of a connection to a server. */
  async function pair(
    listener: ReturnType<typeof createServer>,
    client: (port: number) => Socket = (port) => connect(port, '127.0.0.1'),
    event = 'connection',
  ): Promise<{ server: Socket; client: Socket; text: () => Promise<string> }> {
    if (!listener.listening) {
      listener.listen(0, '127.0.0.1');
      open.push({ destroy: () => listener.close() });
      await once(listener, 'listening');
    }
    const accepted = once(listener, event);
    const socket = client((listener.address() as AddressInfo).port);
    const [server] = (await accepted) as [Socket];
    open.push(server, socket);
    let text = '';
    socket.setEncoding('latin1').on('data', (data) => {
      text += data;
    });
    socket.pause();
    const ended = once(socket, 'end');
    const rest = async () => {
      server.end();
      socket.resume();
      await ended;
      return text;
    };
    return { server, client: socket, text: rest };
  }

  const tcpPair = () => pair(createServer());

  it('sends to sockets in which nothing waits, without their write()', async () => {
    const listener = createServer();
    const pairs = [await pair(listener), await pair(listener), await pair(listener)];

    expect(
      write(
        pairs.map(({ server }) => server),
        Buffer.from('bytes'),
      ),
    ).toBeUndefined();

    expect(left).toEqual([]);
    expect(await Promise.all(pairs.map(({ text }) => text()))).toEqual(['bytes', 'bytes', 'bytes']);
  });

  it('sends any number of bytes to any number of sockets, and accepts none', async () => {
    expect(write([], Buffer.from('bytes'))).toBeUndefined();
    expect(left).toEqual([]);
  });

  it('leaves to the socket what the operating system does not take, and reports that the socket is full', async () => {
    const listener = createServer();
    const [stalled, other] = [await pair(listener), await pair(listener)];

    expect(write([other.server, stalled.server], LARGE)).toEqual([0, 1]);
    expect(write([stalled.server, other.server], Buffer.from('next'))).toEqual([0, 1]);

    expect(left).toEqual([
      expect.stringMatching(/^\d{7,8} bytes$/),
      expect.stringMatching(/^\d{7,8} bytes$/),
      'next',
      'next',
    ]);
    expect((await stalled.text()) === `${LARGE.toString()}next`).toBe(true);
    expect((await other.text()) === `${LARGE.toString()}next`).toBe(true);
  });

  it('keeps the order in a socket that it was given twice and that becomes full', async () => {
    const { server, text } = await tcpPair();

    expect(write([server, server], LARGE)).toEqual([0, 1]);

    expect((await text()) === LARGE.toString().repeat(2)).toBe(true);
  });

  it('leaves a socket alone in which bytes wait, which is corked, or which has an idle timeout', async () => {
    const listener = createServer();
    const [waiting, corked, timed] = [await pair(listener), await pair(listener), await pair(listener)];
    waiting.server.cork();
    waiting.server.write('before ');
    corked.server.cork();
    // Only a write of the socket itself restarts its idle timeout.
    timed.server.setTimeout(1_000_000);

    expect(write([waiting.server, corked.server, timed.server], Buffer.from('bytes'))).toBeUndefined();
    expect(left).toEqual(['bytes', 'bytes', 'bytes']);

    expect(await Promise.all([waiting, corked, timed].map(({ text }) => text()))).toEqual([
      'before bytes',
      'bytes',
      'bytes',
    ]);
  });

  it('leaves a socket alone that has ended or is destroyed, whose error is then that of a write', async () => {
    const listener = createServer();
    const [ended, destroyed] = [await pair(listener), await pair(listener)];
    const codes: unknown[] = [];
    ended.server.on('error', (error: NodeJS.ErrnoException) => codes.push(error.code)).end();
    destroyed.server.destroy();

    expect(write([ended.server, destroyed.server], Buffer.from('bytes'))).toBeUndefined();
    expect(left).toEqual(['bytes', 'bytes']);

    await new Promise((resolve) => ended.server.on('close', resolve));
    expect(codes).toEqual(['ERR_STREAM_WRITE_AFTER_END']);
  });

  it('never sends to the descriptor of a closed socket, which belongs to something else now', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nestjs-streaming-'));
    const { server } = await tcpPair();
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    server.destroy();
    const files = [openSync(join(folder, '0'), 'w')];
    while (!files.includes(fd)) {
      files.push(openSync(join(folder, `${files.length}`), 'w'));
    }

    write([server], Buffer.from('bytes'));

    const contents = files.map((file, i) => {
      closeSync(file);
      return readFileSync(join(folder, `${i}`), 'utf8');
    });
    rmSync(folder, { recursive: true });
    expect(contents.join('')).toBe('');
    expect(left).toEqual(['bytes']);
  });

  it('lets the socket find and report that the client has reset the connection', async () => {
    const { server, client } = await tcpPair();
    const error = once(server, 'error');
    client.resetAndDestroy();
    await once(client, 'close');

    expect(write([server], Buffer.from('bytes'))).toBeUndefined();

    expect(left).toEqual(['bytes']);
    expect((await error)[0]).toMatchObject({ code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/) });
    expect(server.destroyed).toBe(true);
  });

  it('sends to a client that has ended its half of the connection', async () => {
    const { server, client, text } = await pair(createServer({ allowHalfOpen: true }));
    client.end();
    server.resume();
    await once(server, 'end');

    expect(write([server], Buffer.from('bytes'))).toBeUndefined();

    expect(left).toEqual([]);
    expect(await text()).toBe('bytes');
  });

  it('leaves TLS to the socket, which encrypts', async () => {
    const listener = createTlsServer({ cert: pem('cert'), key: pem('key') });
    const tls = await pair(
      listener,
      (port) => connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }),
      'secureConnection',
    );

    expect(write([tls.server], Buffer.from('bytes'))).toBeUndefined();

    expect(left).toEqual(['bytes']);
    expect(await tls.text()).toBe('bytes');
  });

  it('leaves Unix sockets, replaced methods and unknown handles to the socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nestjs-streaming-'));
    const path = join(folder, 'socket');
    const listener = createServer().listen(path);
    await once(listener, 'listening');
    const unix = await pair(listener, () => connect(path));
    const patched = await tcpPair();
    const original = patched.server.write;
    patched.server.write = ((...args: Parameters<typeof original>) =>
      Reflect.apply(original, patched.server, args)) as typeof original;
    const handles = [undefined, null, {}, { fd: 0 }, { fd: 1 }, Object.create(null)];
    const unknown = handles.map((handle) => Object.assign(new Socket(), { _handle: handle }));
    const written = unknown.map((socket) => {
      const calls: string[] = [];
      socket.write = ((bytes: Buffer) => calls.push(bytes.toString()) > 0) as typeof socket.write;
      return calls;
    });

    write([unix.server, patched.server, ...unknown], Buffer.from('bytes'));

    expect(left).toEqual(Array.from({ length: 2 + handles.length }, () => 'bytes'));
    expect(await Promise.all([unix.text(), patched.text()])).toEqual(['bytes', 'bytes']);
    expect(written).toEqual(handles.map(() => ['bytes']));
    for (const socket of unknown) {
      Object.assign(socket, { _handle: null });
    }
    listener.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['Socket', Socket.prototype],
    ['Duplex', Duplex.prototype],
  ])('leaves all sockets to a write() that a tool has put into the prototype of %s', async (_name, prototype) => {
    const { server, text } = await tcpPair();
    const written: string[] = [];
    const before = Object.getOwnPropertyDescriptor(prototype, 'write');
    const { write: original } = prototype;
    prototype.write = function (this: Socket, ...args: unknown[]) {
      written.push(String(args[0]));
      return Reflect.apply(original, this, args);
    };

    write([server], Buffer.from('bytes'));

    Reflect.deleteProperty(prototype, 'write');
    if (before) {
      Object.defineProperty(prototype, 'write', before);
    }
    expect(written).toEqual(['bytes']);
    expect(await text()).toBe('bytes');
  });

  it('lets no write() that other code has replaced get between the parts of a chunk for another socket', async () => {
    const listener = createServer();
    const [patched, stalled] = [await pair(listener), await pair(listener)];
    patched.server.write = (() => {
      stalled.server.write(' other');
      return true;
    }) as typeof patched.server.write;

    expect(write([patched.server, stalled.server], LARGE)).toEqual([1]);

    expect((await stalled.text()) === `${LARGE.toString()} other`).toBe(true);
  });

  it('sends every byte once and to the right connection, while connections come, stall, end and break', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, await buildNative(), '2000', '1']);

    const { rounds, handedOver, full, ended, broken } = JSON.parse(stdout);
    expect(rounds).toBe(2_000);
    for (const figure of [handedOver, full, ended, broken]) {
      expect(figure).toBeGreaterThan(0);
    }
  }, 120_000);

  it(
    'reads and writes no memory that is not its own, as AddressSanitizer confirms',
    async () => {
      const file = await buildNative('address');
      const env = { ...(await sanitizerEnvironment('address')), ASAN_OPTIONS: 'detect_leaks=0' };

      const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, file, '500', '3'], { env });

      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toMatchObject({ rounds: 500 });
    },
    BUILD_TIMEOUT,
  );
});

describeWith(NODE_GYP_TOOLS, nodeGypTools())('The native call', () => {
  it('is missing if the install script did not run, and the error says how to build it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'nestjs-streaming-'));
    for (const name of ['index.js', 'package.json']) {
      copyFileSync(join(NATIVE, name), join(folder, name));
    }

    expect(() => createRequire(import.meta.url)(join(folder, 'index.js'))).toThrow(
      /^nestjs-streaming-native cannot load \S+writer\.node \(.*\)\. "npm rebuild nestjs-streaming-native" builds it/s,
    );
    rmSync(folder, { recursive: true });
  });

  it(
    'throws if its arguments are wrong, and sends nothing then',
    async () => {
      const { sendAll } = createRequire(import.meta.url)(await buildAddon('native', 'writer'));
      const [ints, bytes] = [new Int32Array(2), Buffer.from('bytes')];

      for (const args of [
        [],
        [ints, 1, bytes],
        [[1], 1, bytes, ints],
        [new Uint32Array(2), 1, bytes, ints],
        [ints, 1, 'bytes', ints],
        [ints, 1, new Uint16Array(2), ints],
        [ints, 1, Buffer.alloc(0), ints],
        [ints, 1, bytes, new Float64Array(2)],
        [ints, 3, bytes, ints],
        [ints, 2, bytes, new Int32Array(1)],
        [ints, -1, bytes, ints],
        [ints, '1', bytes, ints],
      ]) {
        expect(() => sendAll(...args)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
      }
      expect(sendAll(ints, 0, bytes, ints)).toBe(0);
    },
    BUILD_TIMEOUT,
  );

  it(
    'reports the error of a descriptor that is not open',
    async () => {
      const { sendAll } = createRequire(import.meta.url)(await buildAddon('native', 'writer'));
      const results = new Int32Array(2);

      expect(sendAll(Int32Array.of(-1, -1), 2, Buffer.from('bytes'), results)).toBe(2);
      expect([...results].every((result) => result < 0)).toBe(true);
    },
    BUILD_TIMEOUT,
  );
});
