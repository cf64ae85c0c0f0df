import { brokerContract } from '../../lib/testing/index.js';
import { SharedStore, SharedStoreBroker } from './shared-store.js';

describe('A broker whose store several processes share, and which may lose its logs,', () => {
  let store = new SharedStore();
  const contract = brokerContract({
    create: () => new SharedStoreBroker(store),
    shared: true,
    restart: () => {
      store = new SharedStore();
      return new SharedStoreBroker(store);
    },
    lose: (log) => store.lose(log),
    runs: 30,
    seed: 1,
  });

  it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run(), 60_000);
});
