import { readFileSync } from 'node:fs';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { Client, Pool } from 'pg';
import { DataSource } from 'typeorm';
import type { BrokerRecord } from '../../lib/index.js';
import { PostgresBroker } from '../../lib/postgres/index.js';
import { PostgresServer, postgresPath } from '../support/postgres-server.js';
import { describeWith } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000 };
const LONG_MS = 3_600_000;
const ORDER = { id: 'o-1', region: 'eu' };
const APPEND = 'SELECT ns.ns_append($1, $2::jsonb, topic := $3)';

describeWith('postgres', postgresPath('postgres'))('ns_append() of PostgresBroker', () => {
  let server: PostgresServer;
  let pool: Pool;
  let broker: PostgresBroker;
  let log: string;
  let logs = 0;
  let received: BrokerRecord[];
  beforeAll(async () => {
    server = await PostgresServer.start();
    await server.sql('CREATE TABLE orders (id text PRIMARY KEY, region text)');
    pool = new Pool({ connectionString: server.url, max: 4 });
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });
  beforeEach(async () => {
    await server.sql('TRUNCATE orders');
    log = `orders ${++logs}`;
    broker = new PostgresBroker({ url: server.url, poll: 20 });
    await listen(broker);
  });
  afterEach(() => broker.close());

  async function listen(to: PostgresBroker): Promise<void> {
    received = [];
    await to.open(log, RETENTION);
    await to.tail(log, (records) => received.push(...records));
  }

  const orders = async (): Promise<number> => Number(await server.sql('SELECT count(*) FROM orders'));
  const datas = (): string[] => received.map(({ data }) => data);
  /** Appends an entry, which comes after everything that was committed before. */
  const publish = (data: string) => broker.append(log, { data, encoding: 'text' });

  /** Begins a transaction, which publishes an event, and does not end. */
  async function beginTransaction(data: object, isolation = 'READ COMMITTED'): Promise<Client> {
    const client = new Client({ connectionString: server.url });
    await client.connect();
    await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
    await client.query('INSERT INTO orders VALUES ($1, $2)', [ORDER.id, ORDER.region]);
    await client.query(APPEND, [log, JSON.stringify(data), 'eu']);
    return client;
  }

  it('publishes an event when its transaction commits, and not before', async () => {
    const client = await beginTransaction(ORDER);
    expect(await broker.read(log, 0, 10)).toEqual([]);
    await client.query('COMMIT');
    await client.end();

    await eventually(() => received.length === 1);
    expect(received).toEqual([
      expect.objectContaining({ data: '{"id": "o-1", "region": "eu"}', encoding: 'json', topic: 'eu', offset: 1 }),
    ]);
    expect(received[0]).not.toHaveProperty('type');
    expect(await orders()).toBe(1);
  });

  it('publishes nothing if its transaction is rolled back, and uses no offset', async () => {
    const client = await beginTransaction(ORDER);
    await client.query('ROLLBACK');
    await client.end();
    const { offset } = await publish('next');

    await eventually(() => received.length === 1);
    expect([offset, datas(), await orders()]).toEqual([1, ['next'], 0]);
  });

  it('publishes nothing if the connection is lost before the commit', async () => {
    const client = await beginTransaction(ORDER);
    client.on('error', () => undefined);
    await server.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
    const offsets: number[] = [];
    await eventually(() =>
      publish('next').then(
        ({ offset }) => offsets.push(offset) > 0,
        () => false,
      ),
    );

    await eventually(() => received.length > 0);
    expect([offsets, datas(), await orders()]).toEqual([[1], ['next'], 0]);
  });

  it('puts the events of concurrent transactions in the order of their commits, without gaps', async () => {
    const committed: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const client = await pool.connect();
        await client.query('BEGIN');
        await client.query(APPEND, [log, `${n}`, null]);
        await client.query(n % 5 === 4 ? 'ROLLBACK' : 'COMMIT');
        committed.push(n);
        client.release();
      }),
    );
    const kept = committed.filter((n) => n % 5 !== 4);

    await eventually(() => received.length === kept.length);
    expect(received.map(({ offset }) => offset)).toEqual(kept.map((_, index) => index + 1));
    expect(
      datas()
        .map(Number)
        .toSorted((a, b) => a - b),
    ).toEqual(kept.toSorted((a, b) => a - b));
    expect(received.every(({ topic }) => topic === undefined)).toBe(true);
  });

  it('publishes an event with the same "once" one time, also beside hub.publish()', async () => {
    const append = async (once: string): Promise<number> => {
      const text = 'SELECT ns.ns_append($1, $2::jsonb, once := $3)';
      const { rows } = await pool.query<{ ns_append: string }>(text, [log, '{}', once]);
      return Number(rows[0]?.ns_append);
    };

    const offsets = [await append('a'), await append('a'), await append('b')];
    const again = await broker.append(log, { data: 'again', encoding: 'text', once: 'b' });
    await publish('last');

    expect([...offsets, again.offset]).toEqual([1, 1, 2, 2]);
    await eventually(() => received.length === 3);
    expect(datas()).toEqual(['{}', '{}', 'last']);
  });

  it('refuses a hub that no process has opened yet, and publishes to it with "new_hub"', async () => {
    await broker.close();
    log = `early ${logs}`;
    await expect(pool.query(APPEND, [log, '1', 'a'])).rejects.toThrow(
      `No process has opened a hub with the name "${log}" yet: check the name, start an application that registers the hub, or pass new_hub := true`,
    );
    expect(await server.sql(`SELECT count(*) FROM ns.log WHERE name = '${log}'`)).toBe('0');
    await pool.query('SELECT ns.ns_append($1, $2, topic := $3, new_hub := true)', [log, '1', 'a']);
    broker = new PostgresBroker({ url: server.url, poll: 20 });
    await broker.openTopics(log, { ...RETENTION, all: false });

    const { topics } = await broker.readTopics(log, [{ topic: 'a', after: 0 }], 10);

    expect(topics).toEqual([
      { records: [expect.objectContaining({ data: '1', previous: 0 })], completeAfter: 0, more: false },
    ]);
  });

  it.each<readonly [string, Readonly<Record<string, string | null>>]>([
    ['The name of a hub must be 1 to 128 characters', { hub: '' }],
    ['The name of a hub must be 1 to 128 characters', { hub: 'x'.repeat(129) }],
    ['The name of a hub must be 1 to 128 characters without control characters', { hub: 'a\n' }],
    ['The name of a hub must be 1 to 128 characters', { hub: null }],
    ['The name of a hub must not begin with "~"', { hub: '~runs' }],
    ['The data of an event must not be NULL', { data: null }],
    ['A topic must not be empty: leave it out', { topic: '' }],
    ['A topic must be at most 1024 bytes long', { topic: 'ä'.repeat(513) }],
    ['A topic must not contain control characters', { topic: 'a\u0001' }],
    ['A topic must not contain control characters', { topic: '\u0085' }],
    ['The type of an event must not contain CR or LF', { type: 'a\rb' }],
    ...['reset', 'lagged', 'position', 'shutdown', 'members'].map(
      (type) => [`"${type}" is a type of the events of nestjs-streaming itself`, { type }] as const,
    ),
    ['"once" must be 1 to 256 characters', { once: '' }],
    ['"once" must be 1 to 256 characters', { once: 'x'.repeat(257) }],
  ])('refuses what hub.publish() refuses: %s', async (message, options) => {
    const { hub, data, topic, type, once }: typeof options = { hub: log, data: '{}', ...options };
    const values = [hub, data, topic, type, once];
    for (const text of ['ns_append($1, $2::jsonb', 'ns_append_text($1, $2']) {
      await expect(
        pool.query(`SELECT ns.${text}, topic := $3, type := $4, once := $5, new_hub := true)`, values),
      ).rejects.toThrow(message);
    }
  });

  it('publishes what hub.publish() publishes at the limits', async () => {
    const text = 'SELECT ns.ns_append($1, $2, topic := $3, type := $4, key := $5, once := $6)';
    await pool.query(text, [log, 'null', 'ä'.repeat(512), '', '', '😀'.repeat(128)]);

    await eventually(() => received.length === 1);
    expect(received).toEqual([expect.objectContaining({ data: 'null', topic: 'ä'.repeat(512), type: '', key: '' })]);
  });

  it('refuses an event without a topic in a hub with a history for each topic, unless the hub also has one of all', async () => {
    const append = () => pool.query(APPEND, [log, '1', null]);
    await broker.openTopics(log, { ...RETENTION, all: false });
    await expect(append()).rejects.toThrow(
      `An event of the hub "${log}" needs a topic, because the hub has a history for each topic: pass "topic", or register the hub with all: true`,
    );
    await broker.openTopics(log, { ...RETENTION, all: true });
    await append();

    await eventually(() => received.length === 1);
    expect(received).toEqual([expect.objectContaining({ offset: 1 })]);
  });

  it('notifies other processes with "notify" when the transaction commits, however rarely they poll', async () => {
    await broker.close();
    broker = new PostgresBroker({ url: server.url, poll: LONG_MS });
    await listen(broker);

    await pool.query('SELECT ns.ns_append($1, $2::jsonb)', [log, '1']);
    await pool.query('SELECT ns.ns_append($1, $2::jsonb, notify := true)', [log, '2']);

    await eventually(() => received.length === 2);
    expect(datas()).toEqual(['1', '2']);
  });

  it('publishes text, JSON and bytes unchanged by ns_append_text()', async () => {
    const text = 'Grüße 😀 \u0001 \u0001\u0002 \u2028 \\x01';
    const append = (data: string, encoding: string) =>
      pool.query('SELECT ns.ns_append_text($1, $2, key := $3, encoding := $4)', [log, data, text, encoding]);
    await append(text, 'text');
    await append('{ "a":1 }', 'json');
    await append('AAH/', 'base64');

    await eventually(() => received.length === 3);
    expect(received.map(({ data, key, encoding }) => [data, key, encoding])).toEqual([
      [text, text, 'text'],
      ['{ "a":1 }', text, 'json'],
      ['AAH/', text, 'base64'],
    ]);
    await expect(append('{', 'json')).rejects.toThrow('invalid input syntax for type json');
    await expect(append('?', 'base64')).rejects.toThrow('base64');
    await expect(append('a', 'utf8')).rejects.toThrow('The encoding must be json, text or base64, not utf8');
  });

  it('lets publish() wait for a transaction that holds the hub, and then says that the event was not published', async () => {
    await broker.close();
    broker = new PostgresBroker({ url: server.url, poll: 20, timeout: 600 });
    await listen(broker);
    const client = await beginTransaction(ORDER);

    await expect(publish('late')).rejects.toMatchObject({
      code: 'broker-unavailable',
      message: expect.stringContaining('another transaction that has called ns_append() for the same hub') as string,
    });
    const waiting = publish('waits');
    await client.query('COMMIT');
    await client.end();

    expect((await waiting).offset).toBe(2);
    await eventually(() => received.length === 2);
    expect(datas()).toEqual(['{"id": "o-1", "region": "eu"}', 'waits']);
  });

  it('keeps other hubs free while a transaction holds one', async () => {
    const client = await beginTransaction(ORDER);
    await broker.open('another hub', RETENTION);

    expect(await broker.append('another hub', { data: '', encoding: 'text' })).toMatchObject({ offset: 1 });
    await client.query('ROLLBACK');
    await client.end();
  });

  it('fails in a transaction with REPEATABLE READ that began before another event, which can be repeated', async () => {
    const client = new Client({ connectionString: server.url });
    await client.connect();
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query('SELECT count(*) FROM orders');
    await publish('first');

    await expect(client.query(APPEND, [log, '1', null])).rejects.toMatchObject({ code: '40001' });
    await client.query('ROLLBACK');
    await client.end();
  });

  it('works in a transaction of TypeORM', async () => {
    const source = new DataSource({ type: 'postgres', url: server.url });
    await source.initialize();
    const create = (fails: boolean) =>
      source.transaction(async (manager) => {
        await manager.query('INSERT INTO orders VALUES ($1, $2)', [ORDER.id, ORDER.region]);
        await manager.query(APPEND, [log, JSON.stringify(ORDER), ORDER.region]);
        if (fails) {
          throw new Error('rolled back');
        }
      });
    await expect(create(true)).rejects.toThrow('rolled back');
    await create(false);
    await source.destroy();

    await eventually(() => received.length === 1);
    expect(received).toEqual([expect.objectContaining({ topic: 'eu', offset: 1 })]);
  });

  it('works in a transaction of Drizzle', async () => {
    const db = drizzle({ client: pool });
    const create = (fails: boolean) =>
      db.transaction(async (tx) => {
        await tx.execute(sql`INSERT INTO orders VALUES (${ORDER.id}, ${ORDER.region})`);
        await tx.execute(sql`SELECT ns.ns_append(${log}, ${JSON.stringify(ORDER)}::jsonb, topic := ${ORDER.region})`);
        if (fails) {
          throw new Error('rolled back');
        }
      });
    await expect(create(true)).rejects.toThrow('rolled back');
    await create(false);

    await eventually(() => received.length === 1);
    expect(received).toEqual([expect.objectContaining({ topic: 'eu', offset: 1 })]);
  });

  it('is called by the example for Prisma in the guide with parameters that Postgres accepts', async () => {
    const guide = readFileSync(new URL('../../docs/postgres.md', import.meta.url), 'utf8');
    const [, template = ''] = /\$executeRaw`(.*?)`/s.exec(guide) ?? [];
    let count = 0;
    // Prisma sends each value of the template as a parameter.
    const text = template.replace('orders', log).replace(/\$\{.*?\}/g, () => `$${++count}`);
    await pool.query(text, [JSON.stringify(ORDER), ORDER.region]);

    await eventually(() => received.length === 1);
    expect(received).toEqual([expect.objectContaining({ topic: 'eu', offset: 1 })]);
  });
});
