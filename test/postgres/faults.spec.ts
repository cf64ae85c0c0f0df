import { Pool } from 'pg';
import type { BrokerPosition, BrokerRecord } from '../../lib/index.js';
import { PostgresBroker, type PostgresBrokerOptions } from '../../lib/postgres/index.js';
import { PgBouncer } from '../support/pgbouncer.js';
import { PostgresServer, postgresPath } from '../support/postgres-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { describeWith, toolPath } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 10_000, ttl: 3_600_000 };
const LONG_MS = 3_600_000;

/** A broker, and everything that its tail has received. */
class Process {
  readonly records: BrokerRecord[] = [];
  at: BrokerPosition = { epoch: '', offset: 0 };

  private constructor(readonly broker: PostgresBroker) {}

  static async start(options: PostgresBrokerOptions): Promise<Process> {
    const process = new Process(new PostgresBroker({ timeout: 1_000, ...options }));
    await process.broker.open('log', RETENTION);
    process.at = await process.broker.tail('log', (records, position) => {
      process.records.push(...records);
      process.at = position ?? records.at(-1) ?? process.at;
    });
    return process;
  }

  get datas(): string[] {
    return this.records.map(({ data }) => data);
  }

  append(data: string, once?: string): Promise<BrokerPosition> {
    return this.broker.append('log', { data, encoding: 'text', ...(once !== undefined && { once }) });
  }

  /** Appends an entry once, however often that fails. */
  async appendAgain(data: string): Promise<BrokerPosition> {
    for (;;) {
      try {
        return await this.append(data, data);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  async reaches({ epoch, offset }: BrokerPosition): Promise<void> {
    await eventually(() => this.at.epoch === epoch && this.at.offset >= offset);
  }
}

/** With this, a server ends the answer to a client that has connected: it is ready, outside of a transaction. */
const READY = Buffer.from('Z\0\0\0\x05I', 'latin1');
/** The server ends the connection, as when it crashes: ErrorResponse of the protocol. */
const TERMINATED = errorResponse(
  'SFATAL',
  'VFATAL',
  'C57P01',
  'Mterminating connection due to unexpected postmaster exit',
);

function errorResponse(...fields: readonly string[]): Buffer {
  const body = Buffer.from(`${fields.map((field) => `${field}\0`).join('')}\0`);
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, n) => `${n}`);

describeWith('postgres', postgresPath('postgres'))('PostgresBroker', () => {
  let server: PostgresServer;
  const closed: (() => Promise<unknown>)[] = [];
  const start = async (options: PostgresBrokerOptions): Promise<Process> => {
    const process = await Process.start(options);
    closed.unshift(() => process.broker.close());
    return process;
  };
  beforeEach(async () => {
    server = await PostgresServer.start('wal_level=replica', 'fsync=on');
    closed.push(() => server.stop());
  });
  afterEach(async () => {
    for (const close of closed.splice(0)) {
      await close();
    }
  });

  it('loses nothing that was published, and begins no epoch, when Postgres crashes and starts again', async () => {
    const [publisher, reader] = [await start({ url: server.url }), await start({ url: server.url })];
    const { epoch } = await publisher.append('first');
    const published = Promise.all(numbers(200).map((n) => publisher.appendAgain(n)));
    await eventually(() => reader.records.length > 20);

    await server.restart();
    await published;
    const last = await publisher.appendAgain('last');
    await reader.reaches(last);

    expect(last).toEqual({ epoch, offset: 202 });
    expect(reader.records.map(({ offset }) => offset)).toEqual(reader.records.map((_, index) => index + 1));
    expect(new Set(reader.datas)).toEqual(new Set(['first', ...numbers(200), 'last']));
    expect(reader.records.every((record) => record.epoch === epoch)).toBe(true);
  });

  it('takes every process for a new one in its roster after a crash, so that all figures are stored again', async () => {
    const { broker } = await start({ url: server.url });
    const put = (): Promise<boolean> => broker.roster.put('log', 'a', new Map([['total', 1]]), LONG_MS);
    expect([await put(), await put()]).toEqual([false, true]);

    await server.restart();
    const outcomes: boolean[] = [];
    await eventually(() =>
      put().then(
        (wasThere) => outcomes.push(wasThere) > 0,
        () => false,
      ),
    );

    expect(outcomes).toEqual([false]);
    expect(await broker.roster.list('log', ['total'])).toEqual(new Map([['a', new Map([['total', 1]])]]));
  });

  it('connects again when Postgres terminates its connections, and tells whether an event was published', async () => {
    const [publisher, reader] = [await start({ url: server.url }), await start({ url: server.url, poll: LONG_MS })];
    const outcomes = new Map<string, unknown>();
    for (const round of numbers(5)) {
      const appends = numbers(40).map(async (n) => {
        const data = `${round} ${n}`;
        outcomes.set(data, await publisher.append(data).catch((error: { readonly code?: unknown }) => error.code));
      });
      await server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
      await Promise.all(appends);
    }
    const last = await publisher.appendAgain('last');
    await reader.reaches(last);

    const offsets = new Map(reader.records.map(({ data, offset }) => [data, offset]));
    expect(offsets.size).toBe(reader.records.length);
    expect(reader.records.map(({ offset }) => offset)).toEqual(reader.records.map((_, index) => index + 1));
    for (const [data, outcome] of outcomes) {
      if (typeof outcome === 'object') {
        expect(outcome).toMatchObject({ offset: offsets.get(data) });
      } else {
        expect(['publish-unknown', 'broker-unavailable']).toContain(outcome);
        expect(outcome === 'broker-unavailable' && offsets.has(data)).toBe(false);
      }
    }
  });

  it.each(['url', 'pool'])(
    'is not harmed by a server that ends a connection in the moment at which it is there, with `%s`',
    async (option) => {
      let ended = 0;
      let ends = false;
      const proxy = await TcpProxy.start(server.port, (data) => {
        // The key of the connection is sent before, and only when a client connects.
        const connects = data.includes('K\0\0\0\x0c') && data.subarray(-READY.length).equals(READY);
        ended += ends && connects ? 1 : 0;
        return ends && connects ? Buffer.concat([data, TERMINATED]) : data;
      });
      closed.push(() => proxy.stop());
      const url = server.url.replace(`${server.port}`, `${proxy.port}`);
      const pool = new Pool({ connectionString: url });
      pool.on('error', () => undefined);
      closed.unshift(() => pool.end());
      const process = await start(option === 'url' ? { url } : { pool });
      await process.append('first');

      ends = true;
      proxy.cut();
      const last = process.appendAgain('last');
      await eventually(() => ended > 20);
      ends = false;
      await process.reaches(await last);

      expect(process.datas).toEqual(['first', 'last']);
    },
  );

  it('finds out that a connection is half-open, and delivers what it has missed', async () => {
    const proxy = await TcpProxy.start(server.port);
    closed.push(() => proxy.stop());
    const url = server.url.replace(`${server.port}`, `${proxy.port}`);
    const [publisher, reader] = [await start({ url: server.url }), await start({ url, timeout: 300, poll: 100 })];
    await publisher.append('first');
    await eventually(() => reader.records.length === 1);

    proxy.drop();
    const last = await publisher.append('last');
    await eventually(() => !reader.broker.status().connected || reader.records.length === 2);
    await reader.reaches(last);

    expect(reader.datas).toEqual(['first', 'last']);
    expect((await reader.appendAgain('own')).offset).toBe(3);
  });

  describe('when a replica becomes the primary,', () => {
    let replica: PostgresServer;
    let proxy: TcpProxy;
    let url: string;
    beforeEach(async () => {
      replica = await PostgresServer.replicaOf(server);
      proxy = await TcpProxy.start(server.port);
      url = server.url.replace(`${server.port}`, `${proxy.port}`);
      closed.push(
        () => proxy.stop(),
        () => replica.stop(),
      );
    });

    /** Ends the replication: what is published from now on is only on the primary. */
    async function separate(): Promise<void> {
      await replica.sql("ALTER SYSTEM SET primary_conninfo = ''");
      await replica.sql('SELECT pg_reload_conf()');
      await eventually(async () => (await replica.sql('SELECT count(*) FROM pg_stat_wal_receiver')) === '0');
    }

    async function synchronize(): Promise<void> {
      const end = await server.sql('SELECT pg_current_wal_lsn()');
      await eventually(async () => (await replica.sql(`SELECT pg_last_wal_replay_lsn() >= '${end}'::pg_lsn`)) === 't');
    }

    async function failOver(): Promise<void> {
      await server.kill();
      await replica.promote();
      await eventually(async () => (await replica.sql('SELECT pg_is_in_recovery()')) === 'f');
      proxy.target = replica.port;
      proxy.cut();
    }

    it('begins a new epoch, which tails learn before anything is published, since the newest events may be lost', async () => {
      const process = await start({ url });
      for (const n of numbers(5)) {
        await process.append(n);
      }
      await synchronize();
      await separate();
      const lost = await process.append('lost');
      await process.reaches(lost);

      await failOver();
      await eventually(() => process.at.epoch !== lost.epoch);
      const newcomer = await start({ url });
      const next = await newcomer.append('next');
      await process.reaches(next);

      expect(next.offset).toBe(1);
      expect(newcomer.at.epoch).toBe(next.epoch);
      expect(process.datas).toEqual([...numbers(5), 'lost', 'next']);
      expect((await process.broker.read('log', 0, 10)).map(({ data }) => data)).toEqual(['next']);
    });

    it('begins a new epoch in a transaction of the application, also if no process has noticed the failover', async () => {
      const process = await start({ url });
      const { epoch } = await process.append('first');
      await synchronize();
      await separate();
      await process.append('lost');
      await process.broker.close();

      await server.kill();
      await replica.promote();
      await eventually(async () => (await replica.sql('SELECT pg_is_in_recovery()')) === 'f');
      const offset = await replica.sql(`SELECT ns.ns_append('log', '"next"'::jsonb)`);

      expect(offset).toBe('1');
      expect(await replica.sql(`SELECT count(*) FROM ns.log WHERE name = 'log' AND epoch <> '${epoch}'`)).toBe('1');
    });

    it('continues with trustRestarts if the log is as long as before, and begins a new epoch otherwise', async () => {
      const process = await start({ url, trustRestarts: true });
      await process.append('first');
      const known = await process.append('known');
      await synchronize();
      await separate();
      await failOver();
      const next = await process.appendAgain('next');
      expect(next).toEqual({ epoch: known.epoch, offset: 3 });
      await process.reaches(next);

      await replica.sql("UPDATE ns.log SET last = 1, server = 'another' WHERE name = 'log'");
      const after = await process.appendAgain('after');
      expect(after.epoch).not.toBe(known.epoch);
      await process.reaches(after);
      expect(process.datas).toEqual(['first', 'known', 'next', 'after']);
    });
  });
});

describeWith('pgbouncer', postgresPath('postgres') && toolPath('pgbouncer'))('PostgresBroker with PgBouncer', () => {
  let server: PostgresServer;
  let bouncer: PgBouncer;
  beforeAll(async () => {
    server = await PostgresServer.start();
    bouncer = await PgBouncer.start(server);
  });
  afterAll(async () => {
    await bouncer.stop();
    await server.stop();
  });

  it.each([
    ['receives notifications on a connection of its own that leads to Postgres', { poll: LONG_MS, listen: true }],
    ['receives events from time to time without such a connection', { poll: 50, listen: false }],
  ])('%s', async (_, { poll, listen }) => {
    const options = { url: bouncer.url, poll, ...(listen && { listen: server.url }) };
    const [publisher, reader] = [await Process.start(options), await Process.start(options)];

    const positions = await Promise.all(numbers(50).map((n) => publisher.append(n)));
    await reader.reaches(positions.at(-1) ?? reader.at);

    expect(reader.datas).toEqual(numbers(50));
    expect(await publisher.broker.roster.put('log', 'a', new Map(), 1_000)).toBe(listen === false);
    await Promise.all([publisher.broker.close(), reader.broker.close()]);
  });
});
