import type { BrokerRoster } from '../../lib/index.js';
import { brokerContract } from '../../lib/testing/index.js';
import { SharedRoster } from './shared-roster.js';
import { SharedStore, SharedStoreBroker } from './shared-store.js';

type Figures = ReadonlyMap<string, number>;

/** The cases for rosters, with a roster that all brokers share. */
function casesFor(roster: BrokerRoster) {
  const store = new SharedStore();
  const create = () => Object.assign(new SharedStoreBroker(store), { roster });
  return brokerContract({ create, shared: true, timeout: 1_000 }).filter(({ name }) =>
    /roster|put\(\)|removed after/.test(name),
  );
}

describe('A roster that several processes share', () => {
  it.each(casesFor(new SharedRoster()).map(({ name, run }) => [name, run] as const))('%s', (_, run) => run());
});

/** Rosters that break the contract, and the case that each of them must fail. */
const BROKEN: readonly (readonly [string, BrokerRoster, string])[] = [
  [
    'returns all figures',
    new (class extends SharedRoster {
      override list(log: string) {
        return super.list(log, ['total', 'blue', 'red']);
      }
    })(),
    'a roster lists the figures of every process by name',
  ],
  [
    'forgets figures that are not put again',
    new (class extends SharedRoster {
      override async put(log: string, process: string, figures: Figures, ttl: number) {
        const known = await super.put(log, process, new Map(), 0);
        await super.put(log, process, figures, ttl);
        return known;
      }
    })(),
    'put() replaces figures one by one, and removes those that are 0',
  ],
  [
    'leaves out processes without a figure',
    new (class extends SharedRoster {
      override async list(log: string, names: readonly string[]) {
        return new Map([...(await super.list(log, names))].filter(([, figures]) => figures.size > 0));
      }
    })(),
    'a roster lists the figures of every process by name',
  ],
  [
    'does not know whether a process was there',
    new (class extends SharedRoster {
      override async put(...args: Parameters<SharedRoster['put']>) {
        await super.put(...args);
        return true;
      }
    })(),
    'put() resolves to whether the process was in the roster',
  ],
  [
    'keeps processes forever',
    new (class extends SharedRoster {
      override put(log: string, process: string, figures: Figures, ttl: number) {
        return super.put(log, process, figures, ttl && 1e9);
      }
    })(),
    'a process is removed after its time',
  ],
  [
    'renews the time only with figures',
    new (class extends SharedRoster {
      override async put(log: string, process: string, figures: Figures, ttl: number) {
        return figures.size === 0 && ttl > 0
          ? (await this.list(log, [])).has(process) || super.put(log, process, figures, ttl)
          : super.put(log, process, figures, ttl);
      }
    })(),
    'put() renews the time of all figures of a process',
  ],
  [
    'shares one roster among all logs',
    new (class extends SharedRoster {
      override put(_log: string, ...args: [string, Figures, number]) {
        return super.put('one', ...args);
      }
      override list(_log: string, names: readonly string[]) {
        return super.list('one', names);
      }
    })(),
    'put() with a time of 0 removes the process',
  ],
  [
    'ignores case',
    new (class extends SharedRoster {
      override put(log: string, process: string, figures: Figures, ttl: number) {
        return super.put(
          log,
          process,
          new Map([...figures].map(([name, figure]) => [name.toLowerCase(), figure])),
          ttl,
        );
      }
    })(),
    'a roster keeps all names of figures apart',
  ],
];

describe('The contract of rosters', () => {
  it.each(BROKEN)('refuses a roster that %s', async (_, roster, name) => {
    const broken = casesFor(roster).find((each) => each.name === name);
    await expect(broken?.run()).rejects.toMatchObject({ code: 'ERR_ASSERTION' });
  });
});
