import { NatsBroker } from '../../lib/nats/index.js';
import { runsContract } from '../../lib/testing/index.js';
import { Store } from '../nats/store.js';
import { describeWith } from '../support/tools.js';

import.meta.jest.setTimeout(60_000);

/** The time limit of brokers. Some cases wait for it. */
const TIMEOUT_MS = 2_500;

describeWith('nats-server')('Runs with NatsBroker', () => {
  let store: Store;
  beforeAll(async () => {
    store = await Store.start((servers) => new NatsBroker({ servers, timeout: TIMEOUT_MS }));
  });
  afterAll(() => store.stop());

  // The names of the cases depend only on which functions the setup has.
  const names = runsContract(Store.prototype.setup).map(({ name }) => name);

  it.each(names)('%s', async (name) => {
    await runsContract({ ...store.setup, timeout: 15_000 })
      .find((each) => each.name === name)
      ?.run();
  });
});
