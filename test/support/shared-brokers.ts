import type { Broker } from '../../lib/index.js';
import { NatsBroker } from '../../lib/nats/index.js';
import { PostgresBroker } from '../../lib/postgres/index.js';
import { RedisBroker } from '../../lib/redis/index.js';
import { SharedRoster } from '../contract/shared-roster.js';
import { SharedStore, SharedStoreBroker } from '../contract/shared-store.js';
import { NatsServer } from './nats-server.js';
import { PostgresServer, postgresPath } from './postgres-server.js';
import { RedisServer } from './redis-server.js';
import { describeWith, toolPath } from './tools.js';

/**
 * Starts a store that several processes share, in a test of one process with several applications. Returns a function that returns the broker of one more
 * process.
 */
export type StartSharedStore = () => () => Broker;

/** The brokers need nothing but this process. */
export const startSharedStore: StartSharedStore = () => {
  const store = new SharedStore();
  return () => new SharedStoreBroker(store);
};

const startSharedStoreWithRoster: StartSharedStore = () => {
  const store = new SharedStore();
  const roster = new SharedRoster();
  return () => Object.assign(new SharedStoreBroker(store), { roster });
};

/** A store of which each test has its own part. */
interface SharedServer {
  readonly tool: string;
  readonly path?: string | undefined;
  start(): Promise<{ readonly url: string; stop(): Promise<void> }>;
  /** @param part the name of the part: letters and digits */
  create(url: string, part: string): Broker;
}

const SERVERS: readonly SharedServer[] = [
  {
    tool: 'redis-server',
    start: () => RedisServer.start(),
    create: (url, prefix) => new RedisBroker({ url, prefix }),
  },
  {
    tool: 'nats-server',
    start: () => NatsServer.start(),
    create: (servers, prefix) => new NatsBroker({ servers, prefix }),
  },
  {
    tool: 'postgres',
    path: postgresPath('postgres'),
    start: () => PostgresServer.start(),
    create: (url, schema) => new PostgresBroker({ url, schema }),
  },
];

/**
 * Describes tests for every kind of broker that several processes share.
 * @param servers whether to describe those that need a server, too. They are skipped if it is not installed
 */
export function describeSharedBrokers(
  { servers }: { readonly servers: boolean },
  tests: (start: StartSharedStore) => void,
): void {
  describe('a broker without a roster,', () => tests(startSharedStore));
  describe('a broker with a roster,', () => tests(startSharedStoreWithRoster));
  for (const { tool, path = toolPath(tool), start, create } of servers ? SERVERS : []) {
    describeWith(tool, path)(`a ${tool},`, () => {
      let server: Awaited<ReturnType<typeof start>>;
      let parts = 0;
      beforeAll(async () => {
        server = await start();
      });
      afterAll(() => server.stop());

      tests(() => {
        const part = `part${++parts}`;
        return () => create(server.url, part);
      });
    });
  }
}
