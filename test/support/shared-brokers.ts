import type { Broker } from '../../lib/index.js';
import { SharedRoster } from '../contract/shared-roster.js';
import { SharedStore, SharedStoreBroker } from '../contract/shared-store.js';

/** A store that several processes share, in a test of one process with several applications. */
export interface SharedBrokers {
  readonly name: string;
  /** Starts a store. Returns a function that returns the broker of one more process. */
  readonly start: () => Promise<() => Broker>;
}

/** `describe.each(SHARED_BROKERS)('$name: …', ({ start }) => …)` */
export const SHARED_BROKERS: readonly SharedBrokers[] = [
  {
    name: 'a broker without a roster',
    async start() {
      const store = new SharedStore();
      return () => new SharedStoreBroker(store);
    },
  },
  {
    name: 'a broker with a roster',
    async start() {
      const store = new SharedStore();
      const roster = new SharedRoster();
      return () => Object.assign(new SharedStoreBroker(store), { roster });
    },
  },
];
