import { RedisBroker } from '../../lib/redis/index.js';
import {
  type BrokerContractSetup,
  brokerContract,
  brokerRunsContract,
  brokerTopicsContract,
} from '../../lib/testing/index.js';
import { describeWith } from '../support/tools.js';
import { CLIENTS } from './clients.js';
import { Store } from './store.js';

import.meta.jest.setTimeout(60_000);

/** The time limit of brokers. Some cases wait for it. */
const TIMEOUT_MS = 2_000;
const EVERY = /./;
/** The cases that differ between drivers: how they connect, lose connections, and encode commands and answers. */
const CONNECTIONS =
  /every field|keeps? the order|exactly once|was cut|is cut|rejects in time|settles in time|close\(\) resolves|a roster|a tail of a run|of many runs|1 000 logs|5 MB|1 200 topics|are kept apart|continues after a lost|delete\(\) of a tail/;

const casesOf = (setup: BrokerContractSetup) => [
  ...brokerContract(setup),
  ...brokerRunsContract(setup),
  ...brokerTopicsContract(setup),
];

describeWith('redis-server')('RedisBroker', () => {
  describe.each([
    ['a URL', 'read', EVERY],
    ['a client of ioredis', 'pubsub', EVERY],
    ['a client of redis', 'pubsub', CONNECTIONS],
    ['a client of redis 5', 'read', CONNECTIONS],
    ['a client of ioredis 5', 'read', CONNECTIONS],
    ['a client of iovalkey', 'pubsub', CONNECTIONS],
  ] as const)('with %s and tail: "%s"', (client, tail, cases) => {
    let store: Store;
    beforeAll(async () => {
      const create = (url: string): RedisBroker =>
        new RedisBroker({ ...CLIENTS[client](url), tail, timeout: TIMEOUT_MS });
      store = await Store.start(create, tail === 'pubsub');
    });
    afterAll(() => store.stop());

    // The names of the cases depend only on which functions the setup has.
    const names = casesOf(Store.prototype.setup).map(({ name }) => name);

    it.each(names.filter((name) => cases.test(name)))('%s', async (name) => {
      await casesOf(store.setup)
        .find((each) => each.name === name)
        ?.run();
    });
  });
});
