import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { createClient as createOlderClient } from 'redis-older';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import { freePort } from '../support/nginx.js';
import { realProcess } from '../support/real-process.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000 };
const SECRET = 'pass%2Fword-4711';
/** The line of docs/redis.md. */
const [, ACL = ''] =
  /^```text\n(user ns .*)\n```$/m.exec(readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8')) ?? [];

/** Opens a log, as a hub does, and returns the error. */
async function failureOf(options: RedisBrokerOptions): Promise<Error> {
  const broker = new RedisBroker({ timeout: 1_000, ...options });
  try {
    await broker.open('log', RETENTION);
    await broker.tail('log', () => undefined);
  } catch (error) {
    return error as Error;
  } finally {
    await broker.close();
  }
  throw new Error('The log was opened');
}

/** A server that answers every command with the same text. */
async function answering(answer: string): Promise<{ url: string; stop(): void }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      const commands = `${data}`.match(/^\*\d+\r\n/gm)?.length ?? 0;
      socket.write(answer.repeat(commands));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, stop: () => server.close() };
}

describe('new RedisBroker()', () => {
  it.each([
    [{}, 'needs either "url" or "client"'],
    [{ url: 'redis://localhost', client: createClient() }, 'needs either "url" or "client"'],
    [{ url: 'localhost:6379' }, '"url" must be the URL of a Redis, such as "redis://localhost:6379"'],
    [{ url: `http://user:${SECRET}@localhost` }, '"url" must be the URL of a Redis, such as "redis://localhost:6379"'],
    [{ url: `redis://user:${SECRET}@host:port` }, '"url" must be the URL of a Redis, such as "redis://localhost:6379"'],
    [{ url: 'redis://localhost/db' }, '"url" must be the URL of a Redis, such as "redis://localhost:6379"'],
    [
      { url: `redis://user:${SECRET}%@localhost` },
      'Encode special characters of the password with encodeURIComponent()',
    ],
    [
      { url: `redis://${SECRET}%zz:x@localhost` },
      'Encode special characters of the password with encodeURIComponent()',
    ],
    [{ client: 'redis://localhost' }, '"client" must be a client of redis or ioredis'],
    [{ client: {} }, '"client" must be a client of the package redis'],
    [{ url: 'redis://localhost', tial: 'read' }, 'has an unknown option "tial". Did you mean "tail"?'],
    [{ url: 'redis://localhost', tail: 'stream' }, '"tail" must be one of "read", "pubsub", not "stream"'],
    [{ url: 'redis://localhost', timeout: 0 }, '"timeout" must be a number of milliseconds above 0'],
    [{ url: 'redis://localhost', pending: { events: 1 } }, '"pending" has an unknown option "events"'],
    [{ url: 'redis://localhost', pending: { entries: 0 } }, '"pending.entries" must be a whole number above 0'],
    [{ url: 'redis://localhost', tailBuffer: 1.5 }, '"tailBuffer" must be a whole number above 0'],
    [{ url: 'redis://localhost', trustRestarts: 'yes' }, '"trustRestarts" must be true or false'],
    [{ url: 'redis://localhost', onceWindow: -1 }, '"onceWindow" must be a number of milliseconds above 0'],
    [{ url: 'redis://localhost', prefix: '' }, '"prefix" must be at least one character'],
  ])('throws for %o', (options, message) => {
    let error: Error | undefined;
    try {
      new RedisBroker(options as RedisBrokerOptions);
    } catch (thrown) {
      error = thrown as Error;
    }

    expect(error).toMatchObject({ code: 'invalid-option' });
    expect(error?.message).toContain(message);
    expect(inspect(error)).not.toContain('4711');
  });
});

describeWith('redis-server')('RedisBroker does not open a log, and says why,', () => {
  it('if Redis cannot be reached', async () => {
    const port = await freePort();

    const error = await failureOf({ url: `redis://user:${SECRET}@127.0.0.1:${port}` });

    expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
    expect(error.message).toMatch(/^Redis at 127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/);
    expect(inspect(error, { depth: 10 })).not.toContain('4711');
    const broker = new RedisBroker({ url: `redis://user:${SECRET}@127.0.0.1:${port}` });
    expect(inspect(broker, { depth: 10, showHidden: true })).not.toContain('4711');
  });

  it('if Redis does not answer', async () => {
    const server = await RedisServer.start();
    server.freeze();

    const error = await failureOf({ client: new Redis(server.port, { lazyConnect: true }) });

    expect(error).toMatchObject({ code: 'broker-unavailable' });
    expect(error.message).toBe(`Redis at localhost:${server.port} cannot be reached: it did not answer within 1000 ms`);
    await server.stop();
  });

  it.each([
    ['a URL', (url: string) => ({ url })],
    ['redis', (url: string) => ({ client: createClient({ url }) })],
    ['ioredis', (url: string) => ({ client: new Redis(url, { lazyConnect: true }) })],
  ])('if Redis has no TLS, but the client has (%s)', async (_, optionsOf) => {
    const server = await RedisServer.start();

    const error = await failureOf(optionsOf(server.url.replace('redis:', 'rediss:')));

    expect(error).toMatchObject({ code: 'broker-unavailable' });
    expect(error.message).toMatch(
      /^Redis at 127\.0\.0\.1:\d+ \(with TLS\) cannot be reached: it did not answer within 1000 ms$/,
    );
    await server.stop();
  });

  it.each([
    ['redis', (url: string) => ({ url })],
    ['redis', (url: string) => ({ client: createClient({ url }) })],
    ['ioredis', (url: string) => ({ client: new Redis(url, { lazyConnect: true }) })],
  ])('if the password is wrong, at once (with %s)', async (_, optionsOf) => {
    const server = await RedisServer.start('--requirepass', 'right');

    const wrong = await failureOf({ ...optionsOf(`redis://:${SECRET}@127.0.0.1:${server.port}`), timeout: 30_000 });
    const none = await failureOf({ ...optionsOf(server.url), timeout: 30_000 });

    expect(wrong.message).toMatch(
      /^Redis at 127\.0\.0\.1:\d+ answered "WRONGPASS invalid username-password pair or user is disabled\."/,
    );
    expect(none.message).toMatch(/^Redis at 127\.0\.0\.1:\d+ answered "NOAUTH Authentication required\."/);
    expect(inspect([wrong, none], { depth: 10 })).not.toContain('4711');
    await server.stop();
  });

  it('if Redis is too old', async () => {
    const info = 'redis_version:5.0.7\r\n';
    const server = await answering(`$${info.length}\r\n${info}\r\n`);

    const error = await failureOf({ url: server.url, timeout: 30_000 });

    expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
    expect(error.message).toMatch(
      /^Redis at 127\.0\.0\.1:\d+ has version 5\.0\.7: RedisBroker needs Redis 7\.0 or Valkey 7\.2, or newer$/,
    );
    server.stop();
  });

  it('if the server is no Redis', async () => {
    const server = await answering('HTTP/1.1 400 Bad Request\r\n\r\n');

    const error = await failureOf({ url: server.url });

    expect(error).toMatchObject({ code: 'broker-unavailable' });
    server.stop();
  });

  it('if the user may not use a command, a key or a channel', async () => {
    const server = await RedisServer.start();
    const [, name, ...rules] = ACL.replace(' +client|setinfo', '').split(' ');
    const needed = [
      'info',
      'time',
      'xinfo|stream',
      'xrange',
      'get',
      'set',
      'xadd',
      'eval',
      'evalsha',
      'xread',
      'pexpire',
      'hset',
      'hdel',
      'hmget',
      'zadd',
      'zrange',
      'zremrangebyscore',
    ];
    const client = new Redis(`redis://${name}:secret@127.0.0.1:${server.port}`, { lazyConnect: true });

    for (const command of needed) {
      await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules, `-${command}`);
      const error = await failureOf({ client, timeout: 30_000 });
      expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
      expect(error.message.toLowerCase()).toContain(`'${command}'`);
    }
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules, '-spublish');
    expect((await failureOf({ client, tail: 'pubsub' })).message).toContain("'spublish'");
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules, '-ssubscribe');
    expect((await failureOf({ client, tail: 'pubsub', timeout: 30_000 })).message).toContain("'ssubscribe'");
    await server.cli('acl', 'setuser', `${name}`, 'reset', ...rules);
    expect((await failureOf({ client, prefix: 'other' })).message).toContain('the key "other:{log}"');
    await server.stop();
  });
});

describeWith('redis-server')('RedisBroker', () => {
  it.each([
    ['redis', 'read'],
    ['redis', 'pubsub'],
    ['ioredis', 'read'],
    ['ioredis', 'pubsub'],
  ] as const)('works with the permissions of the guide (%s, tail: "%s")', async (driver, tail) => {
    const server = await RedisServer.start();
    const [, name, ...rules] = ACL.replace(' +client|setinfo', '').split(' ');
    await server.cli('acl', 'setuser', `${name}`, ...rules);
    const url = `redis://ns:secret@127.0.0.1:${server.port}`;
    const client = driver === 'redis' ? createClient({ url }) : new Redis(url, { lazyConnect: true });

    await expectToWork(new RedisBroker({ client, tail }));

    await server.stop();
  });

  it.each(['redis', 'ioredis'])('connects by TLS as the client does (%s)', async (driver) => {
    const folder = mkdtempSync(join(tmpdir(), 'streaming-redis-tls-'));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...subject],
      {
        stdio: 'ignore',
      },
    );
    const tlsPort = await freePort();
    const server = await RedisServer.start(
      ...['--tls-port', `${tlsPort}`, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no'],
    );
    const ca = readFileSync(cert);
    const url = `rediss://127.0.0.1:${tlsPort}`;
    const client =
      driver === 'redis'
        ? createClient({ url, socket: { tls: true, ca } })
        : new Redis(url, { lazyConnect: true, tls: { ca } });

    await expectToWork(new RedisBroker({ client }));
    const untrusted = await failureOf({ url });

    expect(untrusted.message).toMatch(/certificate/);
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['redis', (url: string) => createClient({ url })],
    ['redis 5', (url: string) => createOlderClient({ url })],
    ['ioredis', (url: string) => new Redis(url, { lazyConnect: true })],
  ])('closes all its connections, also one that is being made (%s)', async (_, clientOf) => {
    const server = await RedisServer.start();
    const warnings: unknown[] = [];
    const warn = (warning: unknown): void => void warnings.push(warning);
    realProcess.on('warning', warn);
    const client = clientOf(server.url);
    const broker = new RedisBroker({ client });
    await broker.open('log', RETENTION);
    await broker.tail('log', () => undefined);
    const opening = new RedisBroker({ client });
    const opened = opening.open('log', RETENTION);

    await Promise.all([broker.close(), opening.close()]);

    await expect(opened).rejects.toMatchObject({ code: 'broker-unavailable' });
    await expect(broker.roster.put('log', 'late', new Map(), 1_000)).rejects.toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringContaining('the broker is closed') as string,
    });
    await eventually(async () => (await server.cli('client', 'list')).split('\n').length === 1);
    realProcess.off('warning', warn);
    expect(warnings).toEqual([]);
    await server.stop();
  });
});

/** Appends, receives and reads. */
async function expectToWork(broker: RedisBroker): Promise<void> {
  const received: string[] = [];
  await broker.open('log', RETENTION);
  await broker.tail('log', (records) => void received.push(...records.map(({ data }) => data)));
  await broker.append('log', { data: '1', encoding: 'json' });
  await broker.append('log', { data: '2', encoding: 'json', once: 'two' });
  await broker.open('other', RETENTION);
  await broker.tail('other', (records) => void received.push(...records.map(({ data }) => data)));
  await broker.append('other', { data: '3', encoding: 'json' });
  await eventually(() => received.length === 3);
  expect(received.toSorted()).toEqual(['1', '2', '3']);
  expect((await broker.read('log', 0, 10)).map(({ data }) => data)).toEqual(['1', '2']);
  expect(broker.status()).toMatchObject({ connected: true, behindMs: 0 });
  await broker.roster.put('log', 'a', new Map([['red', 1]]), 60_000);
  await broker.roster.put('log', 'a', new Map([['red', 0]]), 60_000);
  expect([...(await broker.roster.list('log', ['red']))]).toEqual([['a', new Map()]]);
  await broker.close();
}
