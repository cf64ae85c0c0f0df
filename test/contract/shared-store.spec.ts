import { brokerContract } from '../../lib/testing/index.js';
import { SharedStore, SharedStoreBroker, type Tail } from './shared-store.js';
import type { Connection } from './shared-store-server.js';

/** Delivers none of the records that it has missed, but says where the log ends. */
class AnnouncingBroker extends SharedStoreBroker {
  protected override async continueTail({ log, receive, at }: Tail, connection: Connection): Promise<void> {
    const { position } = await this.send(connection, () => this.store.attach(log, receive, connection, at));
    receive([], position);
  }
}

/** How long a broker waits for a store that is frozen, in milliseconds. The contract waits longer. */
const BROKER_TIMEOUT_MS = 2_000;

const CONNECTIONS = /was cut|is cut|was rewound|did not answer|interleave/;

describe.each([
  ['', SharedStoreBroker, /./],
  [' and which only announces what it has missed,', AnnouncingBroker, CONNECTIONS],
])('A broker whose store several processes share, and may fail in every way,%s', (_, StoreBroker, cases) => {
  let store = new SharedStore();
  const contract = brokerContract({
    create: () => new StoreBroker(store, BROKER_TIMEOUT_MS),
    shared: true,
    restart: () => {
      store = new SharedStore();
      return new StoreBroker(store, BROKER_TIMEOUT_MS);
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

  it.each(contract.filter(({ name }) => cases.test(name)).map(({ name, run }) => [name, run] as const))(
    '%s',
    (_, run) => run(),
    60_000,
  );
});
