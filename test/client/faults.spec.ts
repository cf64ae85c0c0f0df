import { describeWith } from '../support/tools.js';
import { FAULTS, type Fault, type Need, runFault } from './faults/faults.js';
import { bundleOfClients, ChromiumPlace, NodePlace } from './faults/places.js';
import type { Lane } from './faults/stage.js';
import { GuideTable, tableOf, versionOf } from './faults/table.js';

// Clients meet the same faults: real servers, proxies and browsers. What becomes of this client is asserted. What becomes of the others is only
// recorded in the tables of docs/client-faults.md, which UPDATE_CLIENT_FAULTS=1 writes: for some of them, it depends on where the network divides
// a response.

/** All faults together may take as long, on a busy machine. */
const ALL_MS = 240_000;
/** How many faults are tried at the same time. */
const AT_ONCE = 3;

const OURS = ['ours', 'ours in Chromium', 'ours over ws', 'ours over ws in Chromium', 'ours polling'] as const;
type LaneName = (typeof OURS)[number] | 'fetch-event-source' | 'eventsource' | 'hey-api' | 'EventSource';

const NO_PAUSE = { 'tabs: pause': '–' };
const ONLY_SOCKET = { POST: '–', tabs: '–', 'tabs: pause': '–', 'HTTP/1.0': '–', 'many connections': '–' };
/** What clients cannot do, or need not do again over another transport, and what the table says then. */
const CANNOT: Readonly<Record<LaneName, Partial<Record<Need, string>>>> = {
  ours: {},
  'ours in Chromium': { 'many connections': '–' },
  'ours over ws': ONLY_SOCKET,
  'ours over ws in Chromium': ONLY_SOCKET,
  'ours polling': { tabs: '–', 'tabs: pause': '–', 'many connections': '–' },
  'fetch-event-source': NO_PAUSE,
  eventsource: { ...NO_PAUSE, POST: 'cannot send a `POST`' },
  'hey-api': NO_PAUSE,
  EventSource: { ...NO_PAUSE, POST: 'cannot send a `POST`', headers: 'cannot send headers' },
};

/** The columns of the tables. */
const COLUMNS: readonly (readonly [LaneName, string])[] = [
  ['ours', 'this client'],
  [
    'fetch-event-source',
    `[fetch-event-source](https://github.com/Azure/fetch-event-source) ${versionOf('@microsoft/fetch-event-source')}`,
  ],
  ['eventsource', `[eventsource](https://github.com/EventSource/eventsource) ${versionOf('eventsource-5')}`],
  ['hey-api', `[hey-api](https://heyapi.dev) ${versionOf('@hey-api/openapi-ts')}`],
  ['EventSource', '`EventSource` of Chromium'],
];
const TRANSPORTS: readonly (readonly [LaneName, string])[] = [
  ['ours', 'Server-Sent Events'],
  ['ours over ws', 'WebSocket'],
  ['ours polling', 'long polling'],
];

/** Returns the first cells of each row of a table. */
function firstColumns(table: string, count: number): string[][] {
  return table.split('\n').map((row) => row.split(' | ').slice(0, count));
}

/** What the table says if a client cannot meet a fault. */
function cannot({ needs }: Fault, name: LaneName): string | undefined {
  return needs && CANNOT[name][needs];
}

describeWith('nginx')('When something goes wrong', () => {
  describeWith('chromium')('between a client and its server:', () => {
    const found = new Map<Fault, ReadonlyMap<string, string> | Error>();
    let chromium: ChromiumPlace;

    beforeAll(async () => {
      const script = await bundleOfClients();
      const node = new NodePlace(script);
      chromium = await ChromiumPlace.open(script);
      const lanes: readonly (Lane & { readonly name: LaneName })[] = [
        { name: 'ours', client: 'ours', place: node },
        { name: 'ours in Chromium', client: 'ours', place: chromium },
        { name: 'ours over ws', client: 'ours', place: node, settings: { as: 'ws' } },
        { name: 'ours over ws in Chromium', client: 'ours', place: chromium, settings: { as: 'ws' } },
        { name: 'ours polling', client: 'ours', place: node, settings: { as: 'poll' } },
        { name: 'fetch-event-source', client: 'fetchEventSource', place: chromium },
        { name: 'eventsource', client: 'eventsource', place: node },
        { name: 'hey-api', client: 'heyApi', place: node },
        { name: 'EventSource', client: 'EventSource', place: chromium },
      ];
      const waiting = [...FAULTS].sort((a, b) => Number(b.isSlow ?? false) - Number(a.isSlow ?? false));
      const work = async (): Promise<void> => {
        for (let fault = waiting.shift(); fault; fault = waiting.shift()) {
          const now = fault;
          const able = lanes.filter(({ name }) => cannot(now, name) === undefined);
          const placed = able.map((lane) => (now.needs?.startsWith('tabs') ? { ...lane, place: chromium } : lane));
          found.set(
            now,
            await runFault(now, placed).catch((error: unknown) => {
              process.stderr.write(`${now.title + String(error)}\n`);
              return error as Error;
            }),
          );
        }
      };
      // Before the tests, because Jest does not let modules be imported between two tests.
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    }, ALL_MS);

    afterAll(() => chromium?.close());

    const cellOf = (fault: Fault, name: LaneName): string => {
      const outcomes = found.get(fault);
      if (!outcomes || outcomes instanceof Error) {
        throw outcomes ?? new Error('Not all faults were tried in time');
      }
      return outcomes.get(name) ?? cannot(fault, name) ?? '';
    };

    it.each(FAULTS)('$title: this client $ours', (fault) => {
      for (const name of OURS) {
        expect([name, cellOf(fault, name)]).toEqual([name, cannot(fault, name) ?? fault.ours]);
      }
    });

    it.each([
      { heading: 'Clients', columns: COLUMNS, compared: 2 },
      { heading: 'Transports of this client', columns: TRANSPORTS, compared: 1 + TRANSPORTS.length },
    ])('docs/client-faults.md says of this client what this test finds: $heading', ({ heading, columns, compared }) => {
      const table = new GuideTable(heading);
      const rows = FAULTS.map((fault) => [fault.title, ...columns.map(([name]) => cellOf(fault, name))]);
      const content = tableOf(['what goes wrong', ...columns.map(([, title]) => title)], rows);
      if (process.env.UPDATE_CLIENT_FAULTS === '1') {
        table.replace(content);
      }
      expect(firstColumns(new GuideTable(heading).content, compared)).toEqual(firstColumns(content, compared));
    });
  });
});
