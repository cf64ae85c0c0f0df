import { PostgresBroker } from '../../lib/postgres/index.js';
import { runsContract } from '../../lib/testing/index.js';
import { Store } from '../postgres/store.js';
import { postgresPath } from '../support/postgres-server.js';
import { describeWith } from '../support/tools.js';

import.meta.jest.setTimeout(60_000);

/** The time limit of brokers. Some cases wait for it. */
const TIMEOUT_MS = 2_500;

describeWith('postgres', postgresPath('postgres'))('Runs with PostgresBroker', () => {
  let store: Store;
  beforeAll(async () => {
    store = await Store.start((url) => new PostgresBroker({ url, timeout: TIMEOUT_MS }));
  });
  afterAll(() => store.stop());

  // The names of the cases depend only on which functions the setup has.
  const names = runsContract(Store.prototype.setup).map(({ name }) => name);

  it.each(names)('%s', async (name) => {
    await runsContract({ ...store.setup, timeout: 25_000 })
      .find((each) => each.name === name)
      ?.run();
  });
});
