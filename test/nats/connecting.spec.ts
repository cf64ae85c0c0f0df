import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { inspect } from 'node:util';
import { connect } from '@nats-io/transport-node';
import { NatsBroker, type NatsBrokerOptions } from '../../lib/nats/index.js';
import { NatsServer } from '../support/nats-server.js';
import { freePort } from '../support/nginx.js';
import { describeWith } from '../support/tools.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000 };
const LONG_MS = 3_600_000;
const ENTRY = { data: '1', encoding: 'json' } as const;
const SECRET = 'pass%2Fword-4711';
/** The lines of docs/nats.md. */
const [, PERMISSIONS = ''] =
  /^```text\n(authorization \{[\s\S]*?\n\})\n```$/m.exec(
    readFileSync(new URL('../../docs/nats.md', import.meta.url), 'utf8'),
  ) ?? [];

/** Uses everything that a broker has, and returns the error. */
async function failureOf(options: NatsBrokerOptions): Promise<Error | undefined> {
  const broker = new NatsBroker({ timeout: 1_500, ...options });
  try {
    await broker.open('log', RETENTION);
    await broker.tail('log', () => undefined);
    await broker.append('log', ENTRY);
    await broker.openTopics('topics', { ...RETENTION, all: false });
    const listener = { onRecords: () => undefined, onReached: () => undefined, onMissed: () => undefined };
    const tail = await broker.tailTopics('topics', listener);
    await tail.add(['a']);
    await broker.append('topics', { ...ENTRY, topic: 'a' });
    await broker.readTopics('topics', [{ topic: 'a', after: 0 }], 10);
    await broker.create('~runs/a', [ENTRY], LONG_MS);
    await broker.tail('~runs/a', () => undefined);
    await broker.appendAll('~runs/a', [ENTRY]);
    await broker.appendAll('~runs/a', [ENTRY]);
    await broker.read('~runs/a', 0, 10);
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    await broker.close();
  }
}

/** A server of another version, or without JetStream. */
async function answering(info: object): Promise<{ url: string; stop(): void }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(`INFO ${JSON.stringify({ server_id: 'x', max_payload: 1_000, headers: true, ...info })}\r\n`);
    socket.on('data', (data) => `${data}`.includes('PING') && socket.write('PONG\r\n'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`, stop: () => server.close() };
}

describe('new NatsBroker()', () => {
  it.each([
    [{}, 'needs either "servers" or "connection"'],
    [{ servers: [] }, '"servers" must be the address of a NATS server, such as "nats://localhost:4222"'],
    [{ servers: `http://user:${SECRET}@localhost` }, '"servers" must be the address of a NATS server'],
    [{ servers: ['nats://a', `nats://user:${SECRET}@host:port`] }, '"servers" must be the address of a NATS server'],
    [{ servers: `nats://${SECRET}%zz:x@localhost` }, 'special characters of the password with encodeURIComponent()'],
    [{ connection: {} }, '"connection" must be a connection of @nats-io/transport-node'],
    [{ servers: 'localhost', prefix: 'a.b' }, '"prefix" must be 1 to 32 letters, digits, "_" and "-"'],
    [{ servers: 'localhost', storage: 'disk' }, '"storage" must be one of "file", "memory", not "disk"'],
    [{ servers: 'localhost', replicas: 6 }, '"replicas" must be a whole number from 1 to 5'],
    [{ servers: 'localhost', pending: { events: 1 } }, '"pending" has an unknown option "events"'],
    [{ servers: 'localhost', trustRestart: true }, 'unknown option "trustRestart". Did you mean "trustRestarts"?'],
  ])('refuses the options %j, and does not repeat a password', (options, message) => {
    const create = (): NatsBroker => new NatsBroker(options as NatsBrokerOptions);

    expect(create).toThrow(message);
    expect(create).not.toThrow(SECRET);
  });
});

describe('A NatsBroker whose server is too old', () => {
  it('says which version it needs', async () => {
    const { url, stop } = await answering({ version: '2.9.10' });

    expect(await failureOf({ servers: url })).toMatchObject({
      code: 'broker-unavailable',
      message: `NATS at ${url.slice(7)} has version 2.9.10: NatsBroker needs nats-server 2.10, or newer`,
    });
    stop();
  });
});

describeWith('nats-server')('A NatsBroker', () => {
  it('says that a server cannot be reached, and connects as soon as it can be', async () => {
    const port = await freePort();
    const servers = `nats://user:${SECRET}@127.0.0.1:${port}`;
    const broker = new NatsBroker({ servers, timeout: 1_000 });

    const failure = await broker.open('log', RETENTION).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: 'broker-unavailable', message: expect.stringContaining('refused') });
    expect(broker.status()).toMatchObject({ connected: false });
    expect(inspect([failure, broker], { depth: 10 })).not.toContain('4711');
    const server = await NatsServer.startOn(port, []);
    if (typeof server === 'string') {
      throw new Error(server);
    }
    while (!broker.status().connected) {
      await broker.open('log', RETENTION).catch(() => undefined);
    }

    expect(await broker.append('log', ENTRY)).toMatchObject({ offset: 1 });
    await broker.close();
    await server.stop();
  });

  it('says that JetStream is not enabled', async () => {
    const server = await NatsServer.start('jetstream: false');

    expect(await failureOf({ servers: server.url })).toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringMatching(/JetStream|jetstream/),
    });
    await server.stop();
  });

  it('shares the connection of an application, and does not close it', async () => {
    const server = await NatsServer.start();
    const shortLived = await connect({ servers: server.url });
    expect(() => new NatsBroker({ connection: shortLived })).toThrow('"maxReconnectAttempts: -1"');
    await shortLived.close();
    const connection = await connect({ servers: server.url, maxReconnectAttempts: -1 });

    expect(await failureOf({ connection })).toBeUndefined();
    expect(connection.isClosed()).toBe(false);
    await connection.close();
    expect(await failureOf({ connection })).toMatchObject({
      code: 'broker-unavailable',
      message: 'The connection of the NatsBroker is closed: the application has closed it',
    });
    await server.stop();
  });

  it('rejects an event that is larger than max_payload, and says how large it may be', async () => {
    const server = await NatsServer.start('max_payload: 2000');
    const broker = new NatsBroker({ servers: server.url });
    await broker.open('log', RETENTION);

    await expect(broker.append('log', { data: 'x'.repeat(2_000), encoding: 'text' })).rejects.toMatchObject({
      code: 'too-large',
      message: expect.stringContaining('NATS accepts at most 1800 ("max_payload" of the server)'),
    });
    expect(await broker.append('log', ENTRY)).toMatchObject({ offset: 1 });
    await broker.close();
    await server.stop();
  });
});

describeWith('nats-server')('A user of NATS with the permissions of the guide', () => {
  const subjects = [...PERMISSIONS.matchAll(/"([^"]+)"/g)].map(([, subject = '']) => subject);

  async function withPermissions(permissions: string): Promise<Error | undefined> {
    const server = await NatsServer.start(permissions);
    try {
      return await failureOf({ servers: `nats://ns:secret@127.0.0.1:${server.port}` });
    } finally {
      await server.stop();
    }
  }

  it('can do everything that a NatsBroker needs', async () => {
    expect(subjects.length).toBeGreaterThan(10);
    expect(await withPermissions(PERMISSIONS)).toBeUndefined();
  });

  it.each(subjects.filter((subject) => !/_INBOX|CONSUMER.DELETE|MSG.DELETE|runpart|MSG.NEXT/.test(subject)))(
    'is refused by a NatsBroker if it lacks %s',
    async (subject) => {
      const failure = await withPermissions(PERMISSIONS.replace(`"${subject}"`, '"unused"'));

      expect(failure).toMatchObject({
        code: 'broker-unavailable',
        message: expect.stringMatching(
          /does not permit what the broker needs: .*See "Permissions" in the guide "NATS"/,
        ),
      });
    },
  );

  it('with a wrong password is refused', async () => {
    const server = await NatsServer.start(PERMISSIONS);

    expect(await failureOf({ servers: `nats://ns:${SECRET}@127.0.0.1:${server.port}` })).toMatchObject({
      code: 'broker-unavailable',
      message: expect.not.stringContaining('4711'),
    });
    await server.stop();
  });
});
