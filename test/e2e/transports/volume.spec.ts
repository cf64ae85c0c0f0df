import { Readable } from 'node:stream';
import { Observable } from 'rxjs';
import { DRIVERS } from '../../support/drivers/index.js';
import { Recorder } from '../../support/events.js';
import { range } from '../../support/hub.js';
import { realProcess } from '../../support/real-process.js';
import { turns } from '../../support/running.js';
import { type Call, eventually, expectEnd, noise, useFeeds } from '../../support/transports.js';

const MIB = 1024 * 1024;
const LARGE = noise(MIB);

// Some of these tests send much data, on machines that may be busy.
import.meta.jest.setTimeout(60_000);

describe.each(DRIVERS)('$name: a stream', (driver) => {
  const start = useFeeds();

  it('delivers chunks of 1 MiB and more completely', async () => {
    const wide = 'ü€'.repeat(500_000);
    const { open } = await start(driver, {
      *feed() {
        yield LARGE;
        yield wide;
        yield LARGE;
        yield 'end';
      },
    });
    const client = open();

    await expectEnd(driver, client, 'completed');

    expect(client.records.map((record) => String(record).length)).toEqual([MIB, wide.length, MIB, 3]);
    expect(client.records[0] === LARGE && client.records[1] === wide && client.records[2] === LARGE).toBe(true);
  });

  const MANY = 10_000;
  const FEEDS: [string, (call: Call) => unknown][] = [
    [
      'a sync generator',
      function* () {
        yield* range(1, MANY);
      },
    ],
    [
      'an async generator',
      async function* () {
        yield* range(1, MANY);
      },
    ],
    [
      'an Observable',
      () =>
        new Observable((subscriber) => {
          for (const n of range(1, MANY)) {
            subscriber.next(n);
          }
          subscriber.complete();
        }),
    ],
    ['a Readable', () => Readable.from(range(1, MANY))],
    [
      'send()',
      ({ stream }) => {
        void (async () => {
          for (const n of range(1, MANY)) {
            await stream.send(n);
          }
          await stream.close();
        })();
      },
    ],
  ];

  it.each(FEEDS)('delivers 10,000 chunks of %s in order, without a listener warning', async (_, feed) => {
    const warnings = new Recorder<Error>();
    realProcess.on('warning', warnings.add);
    const { open } = await start(driver, { feed });
    const client = open();

    await expectEnd(driver, client, 'completed');
    await turns();
    realProcess.off('warning', warnings.add);

    expect(client.records).toEqual(range(1, MANY));
    expect(warnings.seen).toEqual([]);
  });

  it('delivers chunks around the sizes of buffers completely and in order', async () => {
    const sizes = [1, 125, 126, 127, 1_023, 16_383, 16_384, 16_385, 65_534, 65_535, 65_536, 65_537, 131_072];
    const { open } = await start(driver, {
      *feed() {
        for (const size of sizes) {
          yield LARGE.slice(0, size);
        }
      },
    });
    const client = open();

    await expectEnd(driver, client, 'completed');

    expect(client.records.map((record) => String(record).length)).toEqual(sizes);
    expect(client.records.every((record) => LARGE.startsWith(String(record)))).toBe(true);
  });

  it.each([
    ['that ends at once', () => []],
    [
      'that ends later',
      // biome-ignore lint/correctness/useYield: it is what the test is about
      async function* () {
        await turns();
      },
    ],
    ['that is closed', ({ stream }: Call) => void stream.close()],
  ])('%s without a chunk has a complete body', async (_, feed) => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      options: { hooks: { onClose: (_stream, { code }) => seen.add(code) } },
      feed,
    });
    const client = open();

    await expectEnd(driver, client, 'completed');

    expect((await client.answered()).status).toBe(driver.accepted(200));
    expect(client.records).toEqual([]);
    expect(await seen.count(1)).toEqual(['completed']);
  });

  it('delivers only its own chunks while a hundred others are open', async () => {
    const { open, registry } = await start(driver, {
      async *feed({ name }) {
        for (let i = 0; i < 5; i++) {
          yield `${name} ${i}`;
          await turns(1);
        }
      },
    });
    const clients = range(1, 100).map((n) => open(`/feed/${n}`));

    await Promise.all(clients.map((client) => expectEnd(driver, client, 'completed')));

    for (const [i, { records }] of clients.entries()) {
      expect(records).toEqual(range(0, 4).map((n) => `${i + 1} ${n}`));
    }
    await eventually(() => registry.size === 0);
  });
});
