import { MemoryBroker } from '../../lib/index.js';
import { brokerContract } from '../../lib/testing/index.js';

describe('A memory broker', () => {
  const contract = brokerContract({ create: () => new MemoryBroker(), restart: () => new MemoryBroker(), seed: 1 });

  it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run(), 60_000);
});
