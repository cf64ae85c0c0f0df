import { PostgresBroker } from '../../lib/postgres/index.js';
import { PostgresServer, postgresPath } from '../support/postgres-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { describeWith } from '../support/tools.js';
import { compareWithGuide, type Outcome, underLoad } from './scene.js';

import.meta.jest.setTimeout(120_000);

const SUSPENDED_MS = 3_000;

/** What a fault has to do with. The brokers connect through the proxy. */
interface Stage {
  readonly server: PostgresServer;
  readonly replica: PostgresServer;
  readonly proxy: TcpProxy;
}

const FAULTS: readonly (readonly [name: string, fault: (stage: Stage) => Promise<unknown>])[] = [
  [
    'Postgres crashes, and starts again',
    async ({ server }) => {
      await server.kill();
      await server.restart();
    },
  ],
  [
    'Postgres terminates all connections (pg_terminate_backend)',
    ({ server }) =>
      server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      ),
  ],
  [
    'Postgres is suspended for 3 seconds',
    async ({ server }) => {
      server.freeze();
      await new Promise((resolve) => setTimeout(resolve, SUSPENDED_MS));
      server.thaw();
    },
  ],
  [
    'A transaction that has published an event does not end for 2 seconds',
    ({ server }) => server.sql(`BEGIN; SELECT FROM ns.log WHERE name = 'feed' FOR UPDATE; SELECT pg_sleep(2); COMMIT`),
  ],
  [
    'A replica that is behind becomes the primary',
    async ({ server, replica, proxy }) => {
      await replica.sql("ALTER SYSTEM SET primary_conninfo = ''");
      await replica.sql('SELECT pg_reload_conf()');
      await new Promise((resolve) => setTimeout(resolve, 500));
      await server.kill();
      await replica.promote();
      proxy.target = replica.port;
      proxy.cut();
    },
  ],
];

describeWith('postgres', postgresPath('postgres'))('Three applications on one Postgres:', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) {
      await close();
    }
  });

  it.each(FAULTS)('%s', async (name, fault) => {
    const server = await PostgresServer.start('wal_level=replica', 'fsync=on');
    closing.unshift(() => server.stop());
    const replica = await PostgresServer.replicaOf(server);
    closing.unshift(() => replica.stop());
    const proxy = await TcpProxy.start(server.port);
    closing.unshift(() => proxy.stop());
    const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`;
    const broker = (): PostgresBroker => new PostgresBroker({ url });

    const outcome: Outcome = await underLoad(url, { broker }, () => fault({ server, replica, proxy }));

    expect(outcome.faults).toEqual([]);
    compareWithGuide(name, outcome, 'postgres');
  });
});
