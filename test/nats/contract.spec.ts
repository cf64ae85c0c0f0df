import { NatsBroker } from '../../lib/nats/index.js';
import {
  type BrokerContractSetup,
  brokerContract,
  brokerRunsContract,
  brokerTopicsContract,
} from '../../lib/testing/index.js';
import { describeWith } from '../support/tools.js';
import { Store } from './store.js';

import.meta.jest.setTimeout(60_000);

/** The time limit of brokers. Some cases wait for it. */
const TIMEOUT_MS = 2_500;

const casesOf = (setup: BrokerContractSetup) => [
  ...brokerContract(setup),
  ...brokerRunsContract(setup),
  ...brokerTopicsContract(setup),
];

describeWith('nats-server')('NatsBroker', () => {
  let store: Store;
  beforeAll(async () => {
    store = await Store.start((servers) => new NatsBroker({ servers, timeout: TIMEOUT_MS }));
  });
  afterAll(() => store.stop());

  // The names of the cases depend only on which functions the setup has.
  const names = casesOf(Store.prototype.setup).map(({ name }) => name);

  it.each(names)('%s', async (name) => {
    await casesOf(store.setup)
      .find((each) => each.name === name)
      ?.run();
  });
});
