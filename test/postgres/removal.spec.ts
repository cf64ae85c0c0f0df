import { PostgresBroker } from '../../lib/postgres/index.js';
import { PostgresServer, postgresPath } from '../support/postgres-server.js';
import { describeWith } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const HOUR_MS = 3_600_000;

describeWith('postgres', postgresPath('postgres'))('PostgresBroker removes from its tables', () => {
  let server: PostgresServer;
  let broker: PostgresBroker;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    broker = new PostgresBroker({ url: server.url });
  });
  afterEach(() => broker.close());

  const rowsOf = async (log: string): Promise<number> =>
    Number(await server.sql(`SELECT count(*) FROM ns.record r JOIN ns.log l USING (life) WHERE l.name = '${log}'`));

  async function fill(log: string, count: number, topicOf: (n: number) => string | undefined): Promise<void> {
    const entries = Array.from({ length: count }, (_, n) => ({
      data: `${n + 1}`,
      encoding: 'text' as const,
      topic: topicOf(n),
    }));
    for (let from = 0; from < count; from += 1_000) {
      await Promise.all(entries.slice(from, from + 1_000).map((entry) => broker.append(log, entry)));
    }
  }

  it('all events but the newest 4 096, if the hub keeps fewer', async () => {
    await broker.open('few', { limit: 5, ttl: HOUR_MS });
    await fill('few', 10_000, () => undefined);

    await eventually(async () => (await rowsOf('few')) === 4_096);
    expect((await broker.read('few', 0, 100)).map(({ offset }) => offset)).toEqual([
      9_996, 9_997, 9_998, 9_999, 10_000,
    ]);
  });

  it('events of busy topics, and keeps those of quiet ones', async () => {
    await broker.openTopics('topics', { limit: 10, ttl: HOUR_MS, all: false });
    await broker.append('topics', { data: 'quiet', encoding: 'text', topic: 'quiet' });
    await fill('topics', 9_000, () => 'busy');

    await eventually(async () => (await rowsOf('topics')) === 4_097);
    const { topics } = await broker.readTopics(
      'topics',
      [
        { topic: 'quiet', after: 0 },
        { topic: 'busy', after: 0 },
      ],
      100,
    );
    expect(topics.map(({ records, completeAfter }) => [records.map(({ offset }) => offset), completeAfter])).toEqual([
      [[1], 0],
      [Array.from({ length: 10 }, (_, n) => 8_992 + n), 8_991],
    ]);
  });

  it('events that are older than the hub keeps them, after a minute, and says what is complete', async () => {
    await broker.openTopics('old', { limit: 100, ttl: 50, all: false });
    await fill('old', 3, () => 'a');
    await server.sql(
      "UPDATE ns.record r SET time = time - 61000 FROM ns.log l WHERE l.name = 'old' AND l.life = r.life",
    );
    await eventually(async () => (await rowsOf('old')) === 0);

    const { topics, position } = await broker.readTopics('old', [{ topic: 'a', after: 0 }], 100);
    const { offset } = await broker.append('old', { data: 'next', encoding: 'text', topic: 'a' });
    const next = await broker.readTopics('old', [{ topic: 'a', after: 3 }], 100);

    expect([position.offset, topics, offset]).toEqual([3, [{ records: [], completeAfter: 3, more: false }], 4]);
    expect(next.topics[0]).toMatchObject({ completeAfter: 3 });
  });

  it('runs that have expired, earlier epochs, and what remembers "once"', async () => {
    await broker.create('~runs/a', [{ data: 'a', encoding: 'text' }], 10);
    await broker.open('hub', { limit: 10, ttl: HOUR_MS });
    await broker.append('hub', { data: 'a', encoding: 'text', once: 'a' });
    await server.sql(
      "UPDATE ns.log SET server = 'another' WHERE name = 'hub'; UPDATE ns.once SET time = time - 120001",
    );
    await broker.append('hub', { data: 'b', encoding: 'text' });

    await eventually(async () => {
      const left = await server.sql(`SELECT (SELECT count(*) FROM ns.log WHERE expires IS NOT NULL),
        (SELECT count(*) FROM ns.garbage), (SELECT count(*) FROM ns.once),
        (SELECT count(*) FROM ns.record r WHERE NOT EXISTS (SELECT FROM ns.log l WHERE l.life = r.life))`);
      return left === '0|0|0|0';
    });
    expect((await broker.read('hub', 0, 10)).map(({ data }) => data)).toEqual(['b']);
  });
});
