import { MemoryBroker } from '../../lib/index.js';
import { brokerContract, brokerRunsContract, brokerTopicsContract, runsContract } from '../../lib/testing/index.js';

describe('A memory broker', () => {
  const setup = { create: () => new MemoryBroker(), restart: () => new MemoryBroker(), seed: 1 };
  const contract = [
    ...brokerContract(setup),
    ...brokerRunsContract(setup),
    ...runsContract(setup),
    ...brokerTopicsContract(setup),
  ];

  it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run(), 60_000);
});
