import type { Broker, BrokerEntry } from '../../lib/index.js';
import { storedText } from '../../lib/postgres/rows.js';
import type { BrokerContractSetup } from '../../lib/testing/index.js';
import { PostgresServer } from '../support/postgres-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** Returns a broker for the URL of a server. */
export type CreateBroker = (url: string) => Broker;

/** Without what is left of hubs of other cases, which is removed meanwhile. */
const SIZE_OF_RUNS = `SELECT count(*) + (
    SELECT count(*) FROM ns.record r
    WHERE NOT EXISTS (SELECT FROM ns.log l WHERE l.life = r.life AND l.expires IS NULL) AND NOT EXISTS (SELECT FROM ns.garbage g WHERE g.life = r.life)
  ) FROM ns.log WHERE expires IS NOT NULL`;

const TABLES = 'ns.log, ns.record, ns.once, ns.garbage, ns.member, ns.figure';

/** A server whose brokers connect through separate proxies, so that the connections of one broker can be cut. */
export class Store {
  private readonly proxies = new Map<Broker, TcpProxy>();

  private constructor(
    readonly server: PostgresServer,
    private readonly createBroker: CreateBroker,
  ) {}

  static async start(createBroker: CreateBroker): Promise<Store> {
    return new Store(await PostgresServer.start(), createBroker);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.stop()));
    await this.server.stop();
  }

  /** What the contract of brokers needs to control the store. */
  get setup(): BrokerContractSetup {
    return {
      create: () => this.create(),
      shared: true,
      restart: async () => {
        await this.server.sql(`TRUNCATE ${TABLES}`);
        await this.server.restart();
        return this.create();
      },
      lose: async (log) => void (await this.server.sql(`DELETE FROM ns.log WHERE name = ${literal(storedText(log))}`)),
      cut: (broker) => this.proxies.get(broker)?.cut(),
      rewind: (log, count) => this.rewind(log, count),
      freeze: () => this.server.freeze(),
      thaw: () => this.server.thaw(),
      appendRaw: (log, entry) => this.appendRaw(log, entry),
      size: async () =>
        Number(await this.server.sql(`DO $$ BEGIN PERFORM ns.ns_sweep(10000); END $$; ${SIZE_OF_RUNS}`)),
      settle: 200,
      timeout: 20_000,
      runs: 20,
      seed: 1,
    };
  }

  private async create(): Promise<Broker> {
    const proxy = await TcpProxy.start(this.server.port);
    const broker = this.createBroker(`postgres://postgres@127.0.0.1:${proxy.port}/postgres`);
    this.proxies.set(broker, proxy);
    return broker;
  }

  /** What a replica has that lags behind, and that becomes the primary: it is another server, without the newest records. */
  private async rewind(log: string, count: number): Promise<void> {
    const name = literal(storedText(log));
    await this.server.sql(`BEGIN;
      SELECT FROM ns.log WHERE name = ${name} FOR UPDATE;
      DELETE FROM ns.record r USING ns.log l WHERE l.name = ${name} AND r.life = l.life AND r.pos > l.last - ${count};
      UPDATE ns.log SET last = last - ${count}, server = 'another' WHERE name = ${name};
      COMMIT;
      SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`);
  }

  /** Appends by the function for other programs. */
  private async appendRaw(log: string, { data, encoding, topic, type, key }: BrokerEntry): Promise<void> {
    if (data.includes('\0')) {
      // The function takes a text of Postgres, which has no NUL.
      const columns = [data, encoding, topic, type, key].map(
        (text) => `ARRAY[${textLiteral(text && storedText(text))}]`,
      );
      await this.server.sql(
        `SELECT ns.ns_append_entries(${literal(storedText(log))}, ${columns}, NULL, NULL, NULL, NULL, NULL, 0)`,
      );
      return;
    }
    const fields = Object.entries({ topic, type, key }).map(([name, value]) => `${name} := ${textLiteral(value)}`);
    await this.server.sql(
      `SELECT ns.ns_append_text(${[literal(log), literal(data), `encoding := '${encoding}'`, ...fields].join(', ')})`,
    );
  }
}

/** Waits until a condition holds. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function textLiteral(text: string | undefined): string {
  return text === undefined ? 'NULL::text' : `${literal(text)}::text`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
