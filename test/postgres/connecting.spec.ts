import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { inspect } from 'node:util';
import { Client, Pool } from 'pg';
import { PostgresBroker, type PostgresBrokerOptions } from '../../lib/postgres/index.js';
import { inSchema, MIGRATIONS } from '../../lib/postgres/migrations.js';
import { schemaSql } from '../../lib/postgres/schema.js';
import { freePort } from '../support/nginx.js';
import { PostgresServer, postgresPath } from '../support/postgres-server.js';
import { describeWith } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000 };
const SECRET = 'pass%2Fword-4711';
const URL_4711 = `postgres://user:${SECRET}@127.0.0.1`;

/** Opens a log, as a hub does, and returns the error. */
async function failureOf(options: PostgresBrokerOptions): Promise<Error> {
  const broker = new PostgresBroker({ timeout: 1_000, ...options });
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

/** Appends an entry, and receives it. */
async function expectToWork(broker: PostgresBroker): Promise<void> {
  const received: string[] = [];
  await broker.open('log', RETENTION);
  const tail = await broker.tail('log', (records) => received.push(...records.map(({ data }) => data)));
  const { offset } = await broker.append('log', { data: 'a', encoding: 'text', once: `${Math.random()}` });
  await eventually(() => received.length > 0);
  expect([offset, received]).toEqual([tail.offset + 1, ['a']]);
  await broker.roster.put('log', 'a', new Map([['total', 1]]), 1_000);
  await broker.create('~runs/a', [{ data: 'a', encoding: 'text' }], 60_000);
  await broker.drop('~runs/a');
  await broker.close();
}

describe('new PostgresBroker()', () => {
  it.each([
    [{}, 'needs either "url" or "pool"'],
    [{ url: 'postgres://localhost', pool: new Pool() }, 'needs either "url" or "pool"'],
    [
      { url: 'localhost:5432' },
      '"url" must be the URL of a Postgres, such as "postgres://user:password@localhost:5432',
    ],
    [{ url: `http://user:${SECRET}@localhost` }, '"url" must be the URL of a Postgres'],
    [{ url: `postgres://user:${SECRET}@host:port` }, '"url" must be the URL of a Postgres'],
    [
      { url: `postgres://user:${SECRET}%@localhost` },
      'Encode special characters of the password with encodeURIComponent()',
    ],
    [{ url: URL_4711, listen: `mysql://user:${SECRET}@localhost` }, '"listen" must be the URL of a Postgres'],
    [{ pool: 'postgres://localhost' }, '"pool" must be a Pool of the package pg'],
    [{ pool: new Client() }, '"pool" must be a Pool of the package pg'],
    [{ url: URL_4711, notfy: 1 }, 'has an unknown option "notfy". Did you mean "notify"?'],
    [{ url: URL_4711, schema: 'a"b' }, '"schema" must be 1 to 63 letters, digits and underscores'],
    [{ url: URL_4711, poll: 0 }, '"poll" must be a number of milliseconds above 0'],
    [{ url: URL_4711, notify: -1 }, '"notify" must be a number of milliseconds above 0'],
    [{ url: URL_4711, timeout: '5s' }, '"timeout" must be a number of milliseconds above 0'],
    [{ url: URL_4711, pending: { events: 1 } }, '"pending" has an unknown option "events"'],
    [{ url: URL_4711, trustRestarts: 'yes' }, '"trustRestarts" must be true or false'],
  ])('throws for %o', (options, message) => {
    let error: Error | undefined;
    try {
      new PostgresBroker(options as PostgresBrokerOptions);
    } catch (thrown) {
      error = thrown as Error;
    }

    expect(error).toMatchObject({ code: 'invalid-option' });
    expect(error?.message).toContain(message);
    expect(inspect(error)).not.toContain('4711');
  });
});

describe('PostgresBroker', () => {
  it.each([
    [
      'it has version 12.22',
      ['120022', '12.22', 'UTF8', false, 'app'],
      'has version 12.22: PostgresBroker needs Postgres 13 or newer',
    ],
    ['its encoding cannot store every text', ['150000', '15', 'LATIN1', false, 'app'], 'has the encoding LATIN1'],
  ])('does not open a log if %s', async (_, row, message) => {
    const client = {
      on: () => undefined,
      off: () => undefined,
      release: () => undefined,
      query: async () => ({ rows: [row] }),
    };
    const connect = (borrowed: (error: undefined, lent: object) => void): void => borrowed(undefined, client);
    const pool = { options: { host: 'db', port: 5433 }, Client, connect };

    const error = await failureOf({ pool });

    expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
    expect(error.message).toContain('at db:5433');
    expect(error.message).toContain(message);
  });

  it('does not open a log if Postgres cannot be reached, and does not show the password', async () => {
    const url = `postgres://user:${SECRET}@127.0.0.1:${await freePort()}/app`;

    const error = await failureOf({ url });

    expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
    expect(error.message).toMatch(/^Postgres at 127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/);
    expect(inspect(error, { depth: 10 })).not.toContain('4711');
    const broker = new PostgresBroker({ url, listen: url });
    await expect(broker.open('log', RETENTION)).rejects.toThrow();
    expect(inspect(broker, { depth: 10, showHidden: true })).not.toContain('4711');
    await broker.close();
    await expect(broker.open('log', RETENTION)).rejects.toThrow('the broker is closed');
  });

  it('does not open a log if the server does not answer', async () => {
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;

    const error = await failureOf({ url: `postgres://127.0.0.1:${port}`, timeout: 300 });

    expect(error.message).toBe(`Postgres at 127.0.0.1:${port} cannot be reached: it did not answer within 300 ms`);
    server.close();
  });
});

describeWith('postgres', postgresPath('postgres'))('PostgresBroker', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server.stop());

  const urlOf = (user: string, database = 'postgres'): string =>
    `postgres://${user}:${SECRET}@127.0.0.1:${server.port}/${database}`;

  it('says which role or database does not exist, at once', async () => {
    const noRole = await failureOf({ url: urlOf('nobody'), timeout: 30_000 });
    const noDatabase = await failureOf({ url: urlOf('postgres', 'nothing'), timeout: 30_000 });

    expect(noRole.message).toMatch(/^Postgres at 127\.0\.0\.1:\d+ answered "role "nobody" does not exist" \(28000\)$/);
    expect(noDatabase.message).toMatch(/answered "database "nothing" does not exist" \(3D000\)$/);
    expect(inspect([noRole, noDatabase], { depth: 10 })).not.toContain('4711');
  });

  it('says which privileges the user lacks, and works with those of the guide', async () => {
    await server.sql('CREATE ROLE app LOGIN; REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
    const url = urlOf('app');
    const created = await failureOf({ url, schema: 'own' });
    await server.sql(schemaSql('own'));
    const used = await failureOf({ url, schema: 'own' });
    await server.sql('GRANT USAGE ON SCHEMA own TO app; GRANT SELECT ON own.version TO app');
    const missing = await failureOf({ url, schema: 'own' });
    await server.sql(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA own TO app;
      GRANT USAGE ON ALL SEQUENCES IN SCHEMA own TO app; REVOKE INSERT ON own.once FROM app`);
    const one = await failureOf({ url, schema: 'own' });
    await server.sql('GRANT INSERT ON own.once TO app');

    const sentence = /^The user "app" of Postgres .*See "Permissions" in the guide "Postgres"$/;
    for (const error of [created, used, missing, one]) {
      expect(error).toMatchObject({ code: 'broker-unavailable', statusCode: 503 });
      expect(error.message).toMatch(sentence);
    }
    expect(created.message).toContain(
      'may not create or use the schema "own": permission denied for database postgres',
    );
    expect(used.message).toContain('permission denied for schema own');
    expect(missing.message).toContain('SELECT, INSERT, UPDATE, DELETE on log');
    expect(missing.message).toContain('USAGE on the sequence life');
    expect(one.message).toContain('lacks privileges in the schema "own": INSERT on once. See');
    await expectToWork(new PostgresBroker({ url, schema: 'own' }));
  });

  it('creates its schema once if many processes start at the same time', async () => {
    const brokers = Array.from({ length: 8 }, () => new PostgresBroker({ url: server.url, schema: 'many' }));
    await Promise.all(brokers.map((broker) => broker.open('log', RETENTION)));
    await Promise.all(brokers.map((broker) => broker.close()));

    expect(await server.sql('SELECT * FROM many.version')).toBe('2');
  });

  it('brings a schema of version 1 to the newest version, with its events, at the start or by the file of the package', async () => {
    for (const schema of ['first', 'second']) {
      await server.sql(inSchema(`CREATE SCHEMA "ns"; ${MIGRATIONS[0]}`, schema));
      await server.sql(`SELECT ${schema}.ns_append_entries('log', ARRAY['1'], ARRAY['json'], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL],
        NULL, NULL, NULL, NULL, NULL, 0)`);
    }
    await expectToWork(new PostgresBroker({ url: server.url, schema: 'first' }));
    await server.sql(schemaSql('second'));
    await server.sql(schemaSql('second'));
    await expectToWork(new PostgresBroker({ url: server.url, schema: 'second' }));

    for (const schema of ['first', 'second']) {
      expect(await server.sql(`SELECT version, (SELECT count(*) FROM ${schema}.record) FROM ${schema}.version`)).toBe(
        '2|2',
      );
      await expect(server.sql(`SELECT ${schema}.ns_append('typo', '1')`)).rejects.toThrow(
        'No process has opened a hub',
      );
    }
  });

  it('creates its schema if it may use an empty one, but may not create one', async () => {
    await server.sql('CREATE ROLE guest LOGIN; CREATE SCHEMA given AUTHORIZATION guest');
    await expectToWork(new PostgresBroker({ url: urlOf('guest'), schema: 'given' }));
  });

  it('borrows clients of a pool, closes only its own connection, and does not wait for a pool without a free client for long', async () => {
    const pool = new Pool({ connectionString: server.url, max: 1 });
    pool.on('error', () => undefined);
    await expectToWork(new PostgresBroker({ pool }));
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]);

    const held = await pool.connect();
    const error = await failureOf({ pool, timeout: 300 });
    held.release();
    await expectToWork(new PostgresBroker({ pool }));

    expect(error.message).toContain('it did not answer within 300 ms');
    await pool.end();
    await eventually(
      async () =>
        (await server.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")) === '1',
    );
  });

  it('has one connection less while it only publishes, and says in its status since when it is connected', async () => {
    const broker = new PostgresBroker({ url: server.url });
    expect(broker.status()).toMatchObject({ connected: false, behindMs: 0 });
    await broker.open('publisher', RETENTION);
    await broker.append('publisher', { data: '', encoding: 'text' });
    const { connected, since } = broker.status();

    expect(connected).toBe(true);
    expect(Math.abs(Date.now() - since)).toBeLessThan(30_000);
    expect(await server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")).toBe('0');
    await broker.close();
    expect(broker.status().connected).toBe(false);
  });
});
