import { RedisBroker } from '../../lib/redis/index.js';
import { brokerContract } from '../../lib/testing/index.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { CLIENTS } from './clients.js';

import.meta.jest.setTimeout(60_000);

describeWith('redis-server')('RedisBroker', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  describe.each([
    ['the URL of Redis', 'url', 'read'],
    ['a client of ioredis', 'ioredis', 'pubsub'],
  ] as const)('with %s', (_title, name, tail) => {
    const create = (): RedisBroker => new RedisBroker({ ...CLIENTS[name](server.url), tail });
    const contract = brokerContract({
      create,
      shared: true,
      restart: async () => {
        await server.restart();
        return create();
      },
      lose: async (log) => {
        await server.cli('del', `ns:{${log}}`);
      },
      runs: 30,
      seed: 1,
    });

    it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run());
  });
});
