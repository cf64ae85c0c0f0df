import { Readable } from 'node:stream';
import { Observable, Subject } from 'rxjs';
import { flush, type StreamConnection } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { range } from '../../support/hub.js';
import { realProcess } from '../../support/real-process.js';
import { quiet, turns } from '../../support/running.js';
import { type Call, eventually, expectEnd, noise, useFeeds } from '../../support/transports.js';

const MIB = 1024 * 1024;
const LARGE = noise(MIB);
const KIB = noise(1_000);
const KIB_64 = noise(65_000);

// Much data goes through some of them, and tests of others may have the machine meanwhile.
import.meta.jest.setTimeout(30_000);

describe.each(DRIVERS)('$name: a client that stops reading', (driver) => {
  const start = useFeeds();

  interface Counter {
    pulled: number;
  }

  const SOURCES: [string, (counter: Counter) => (call: Call) => unknown][] = [
    [
      'a sync generator',
      (counter) =>
        function* () {
          for (;;) {
            counter.pulled++;
            yield LARGE;
          }
        },
    ],
    [
      'an async generator',
      (counter) =>
        async function* () {
          for (;;) {
            counter.pulled++;
            yield LARGE;
          }
        },
    ],
    [
      'a Readable',
      (counter) => () =>
        new Readable({
          objectMode: true,
          highWaterMark: 1,
          read() {
            counter.pulled++;
            this.push(LARGE);
          },
        }),
    ],
    [
      'a web stream',
      (counter) => () =>
        new ReadableStream({
          pull(controller) {
            counter.pulled++;
            controller.enqueue(LARGE);
          },
        }),
    ],
    [
      'who awaits send()',
      (counter) =>
        ({ stream }) => {
          const push = async (): Promise<void> => {
            for (;;) {
              counter.pulled++;
              await stream.send(LARGE);
            }
          };
          // What ends it is the end of the stream.
          push().catch(() => undefined);
        },
    ],
  ];

  it.each(SOURCES)('holds up %s, and goes on with it when it reads again', async (_, source) => {
    const counter: Counter = { pulled: 0 };
    const streams: StreamConnection[] = [];
    const feed = source(counter);
    const { open } = await start(driver, {
      feed(call) {
        streams.push(call.stream);
        return feed(call);
      },
    });
    const client = open();
    await client.until(1);
    client.stall();

    const had = client.records.length;
    const stalledAt = await quiet(() => counter.pulled, 150);

    // Kernel buffers of a loopback connection take a few MiB, and the client's own library some chunks.
    expect(stalledAt - had).toBeLessThan(20);
    expect(streams[0]?.bufferedAmount).toBeGreaterThan(0);
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * MIB + 2 * 65_536);
    client.resume();
    await client.until(stalledAt + 5);
    expect(new Set(client.records).size).toBe(1);
  });

  it('makes the process hold little, when chunks are small', async () => {
    const streams: StreamConnection[] = [];
    let pulled = 0;
    const { open } = await start(driver, {
      *feed({ stream }) {
        streams.push(stream);
        for (;;) {
          pulled++;
          yield KIB;
        }
      },
    });
    const client = open();
    await client.until(1);
    client.stall();

    await quiet(() => pulled, 150);

    expect(streams[0]?.bufferedAmount).toBeGreaterThan(0);
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * 65_536);
  });

  it('is given up after sendTimeout, and that is logged', async () => {
    const seen = new Recorder();
    const { open, logs, registry } = await start(driver, {
      // Longer than a busy machine takes to compress the first chunk.
      route: { sendTimeout: 500 },
      *feed({ stream }) {
        stream.hooks({ onClose: (_stream, { code }) => seen.add(code) });
        for (;;) {
          yield LARGE;
        }
      },
    });
    const client = open();
    await client.until(1);
    client.stall();

    expect(await seen.count(1)).toEqual(['send-timeout']);

    expect(registry.size).toBe(0);
    expect(logs.of('warn').join()).toMatch(/Feed\.feed.*took nothing/);
    client.resume();
    await expectEnd(driver, client, 'overload');
  });

  it('and that has got all but the end is given up after sendTimeout too', async () => {
    const seen = new Recorder();
    const stalled = deferred();
    const { open, registry } = await start(driver, {
      route: { sendTimeout: 100 },
      async *feed({ stream }) {
        stream.hooks({ onClose: (_stream, { code }) => seen.add(code) });
        yield 1;
        await stalled.promise;
        yield noise(16 * MIB);
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    stalled.resolve();

    expect(await seen.count(1)).toEqual(['send-timeout']);
    expect(registry.size).toBe(0);
  });

  it('when more waits for it than the queue allows, is closed, and that is logged', async () => {
    const subject = new Subject<unknown>();
    const seen = new Recorder();
    const streams: StreamConnection[] = [];
    const { open, logs } = await start(driver, {
      route: { queue: { items: 100 } },
      feed({ stream }) {
        streams.push(stream);
        stream.hooks({ onClose: (_stream, { code }) => seen.add(code) });
        stream.open();
        return subject;
      },
    });
    const client = open();
    await client.answered();
    client.stall();

    let emitted = 0;
    while (subject.observed) {
      subject.next(KIB);
      emitted++;
    }

    expect(seen.seen).toEqual(['slow-consumer']);
    expect(streams[0]?.state).toBe('closed');
    expect(emitted).toBeGreaterThan(100);
    expect(logs.of('warn').join()).toMatch(/Feed\.feed.*too slow/);
    client.resume();
    await expectEnd(driver, client, 'overload');
  });

  it.each(['drop-oldest', 'drop-newest'] as const)(
    'and whose queue is %s hears how many were dropped, and the count adds up',
    async (overflow) => {
      const MANY = 400;
      const subject = new Subject<unknown>();
      const streams: StreamConnection[] = [];
      const { open, logs } = await start(driver, {
        route: { overflow, queue: { items: 10 } },
        feed({ stream }) {
          streams.push(stream);
          stream.open();
          return subject;
        },
      });
      const client = open();
      await client.answered();
      await eventually(() => subject.observed);
      client.stall();
      let most = 0;
      for (const i of range(1, MANY)) {
        subject.next({ i, text: KIB_64 });
        most = Math.max(most, streams[0]?.bufferedAmount ?? 0);
        await turns(1);
      }
      client.resume();
      const numberOf = (record: unknown): number | undefined => (record as { i?: number }).i;
      const droppedBy = (record: unknown): number => (record as { lagged?: { dropped: number } }).lagged?.dropped ?? 0;
      const placed = (records: readonly unknown[]): number =>
        records.reduce<number>((sum, record) => sum + (droppedBy(record) || 1), 0);
      await client.until((records) => placed(records) >= MANY);
      subject.next({ i: MANY + 1 });
      subject.complete();
      await expectEnd(driver, client, 'completed');

      const got = client.records.map(numberOf).filter((i) => i !== undefined);
      const dropped = client.records.reduce<number>((sum, record) => sum + droppedBy(record), 0);
      expect(got.length + dropped).toBe(MANY + 1);
      expect(dropped).toBeGreaterThan(0);
      expect(got).toEqual([...got].sort((a, b) => a - b));
      expect(got.at(-1)).toBe(MANY + 1);
      expect(got.includes(MANY)).toBe(overflow === 'drop-oldest');
      expect(most).toBeLessThan(2 * MIB);
      expect(logs.of('warn').join()).toContain('chunks were dropped');
    },
  );
});

describe.each(DRIVERS)('$name: large, many and none', (driver) => {
  const start = useFeeds();

  it('chunks of 1 MiB and more arrive whole', async () => {
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

  it.each(FEEDS)('10,000 chunks of %s arrive in order, without a listener warning', async (_, feed) => {
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

  it('chunks that are as large as buffers are arrive whole and in order', async () => {
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
  ])('a stream %s without a chunk ends well', async (_, feed) => {
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

  it('a hundred streams at once, each with its own', async () => {
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

describe.each(DRIVERS)('$name: flushing', (driver) => {
  const start = useFeeds();
  const LATER = { flush: { bytes: 100_000, ms: 60_000 } } as const;

  it.each([
    ['auto', {}],
    ['each', { flush: 'each' }],
  ] as const)("%s: a slow producer's chunk leaves at once", async (_, route) => {
    const gates = [deferred(), deferred()];
    const { open } = await start(driver, {
      route,
      async *feed() {
        yield 1;
        yield 2;
        await gates[0]?.promise;
        yield 3;
        await gates[1]?.promise;
        yield 4;
      },
    });
    const client = open();

    expect(await client.until(2)).toEqual([1, 2]);
    gates[0]?.resolve();
    expect(await client.until(3)).toEqual([1, 2, 3]);
    gates[1]?.resolve();
    await expectEnd(driver, client, 'completed');
    expect(client.records).toEqual([1, 2, 3, 4]);
  });

  it('{ bytes, ms }: after so long', async () => {
    const gate = deferred();
    const { open } = await start(driver, {
      route: { flush: { bytes: 100_000, ms: 30 } },
      async *feed() {
        yield 1;
        await turns(2);
        yield 2;
        await gate.promise;
      },
    });
    const client = open();

    expect(await client.until(2)).toEqual([1, 2]);
    gate.resolve();
    await expectEnd(driver, client, 'completed');
  });

  it('yield flush() and stream.flush() send what there is, whatever the policy', async () => {
    const gates = [deferred(), deferred()];
    const { open } = await start(driver, {
      route: LATER,
      async *feed({ stream }) {
        yield 1;
        yield flush();
        await gates[0]?.promise;
        yield 2;
        stream.flush();
        await gates[1]?.promise;
        yield 3;
      },
    });
    const client = open();

    expect(await client.until(1)).toEqual([1]);
    gates[0]?.resolve();
    expect(await client.until(2)).toEqual([1, 2]);
    gates[1]?.resolve();
    await expectEnd(driver, client, 'completed');
    expect(client.records).toEqual([1, 2, 3]);
  });
});
