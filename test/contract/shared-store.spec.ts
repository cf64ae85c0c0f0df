import { brokerContract } from '../../lib/testing/index.js';
import { SharedStore, SharedStoreBroker } from './shared-store.js';

describe('A broker whose store several processes share, and which may fail in every way,', () => {
  let store = new SharedStore();
  const contract = brokerContract({
    create: () => new SharedStoreBroker(store),
    shared: true,
    restart: () => {
      store = new SharedStore();
      return new SharedStoreBroker(store);
    },
    lose: (log) => store.lose(log),
    cut: (broker) => (broker as SharedStoreBroker).cut(),
    rewind: (log, count) => store.rewind(log, count),
    freeze: () => store.freeze(),
    thaw: () => store.thaw(),
    appendRaw: (log, entry) => void store.append(log, entry),
    timeout: 20_000,
    runs: 30,
    seed: 1,
  });

  it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run(), 60_000);
});
