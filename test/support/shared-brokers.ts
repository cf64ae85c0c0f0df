import type { Broker } from '../../lib/index.js';
import { RedisBroker } from '../../lib/redis/index.js';
import { SharedRoster } from '../contract/shared-roster.js';
import { SharedStore, SharedStoreBroker } from '../contract/shared-store.js';
import { RedisServer } from './redis-server.js';
import { describeWith } from './tools.js';

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

/** Describes tests for every kind of broker that several processes share. Those with Redis are skipped if `redis-server` is not installed. */
export function describeSharedBrokers(tests: (start: StartSharedStore) => void): void {
  describe('a broker without a roster,', () => tests(startSharedStore));
  describe('a broker with a roster,', () => tests(startSharedStoreWithRoster));
  describeWith('redis-server')('a Redis,', () => {
    let server: RedisServer;
    let stores = 0;
    beforeAll(async () => {
      server = await RedisServer.start();
    });
    afterAll(() => server.stop());

    tests(() => {
      const prefix = `store ${++stores}`;
      return () => new RedisBroker({ url: server.url, prefix });
    });
  });
}
