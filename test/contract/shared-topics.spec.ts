import { brokerTopicsContract } from '../../lib/testing/index.js';
import { SharedTopicBroker, SharedTopicStore } from './shared-topics.js';

/** How long a broker waits for a store that is frozen, in milliseconds. The contract waits longer. */
const BROKER_TIMEOUT_MS = 2_000;

describe('A broker of topics whose store several processes share, and may fail in every way,', () => {
  let store = new SharedTopicStore();
  const contract = brokerTopicsContract({
    create: () => new SharedTopicBroker(store, BROKER_TIMEOUT_MS),
    shared: true,
    restart: () => {
      store = new SharedTopicStore();
      return new SharedTopicBroker(store, BROKER_TIMEOUT_MS);
    },
    lose: (log) => store.lose(log),
    cut: (broker) => (broker as SharedTopicBroker).cut(),
    rewind: (log, count) => store.rewind(log, count),
    freeze: () => store.freeze(),
    thaw: () => store.thaw(),
    timeout: 20_000,
    runs: 30,
    seed: 1,
  });

  it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run(), 600_000);
});
