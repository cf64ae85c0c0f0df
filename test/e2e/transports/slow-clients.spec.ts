import { Subject } from 'rxjs';
import type { StreamConnection } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { turns } from '../../support/running.js';
import { eventually, expectEnd, noise, useFeeds } from '../../support/transports.js';

const MIB = 1024 * 1024;
const LARGE = noise(MIB);
const KIB = noise(1_000);
const KIB_64 = noise(65_000);
/** Twice the chunks that wait. */
const DROPPED = 20;

// Some of these tests send much data, on machines that may be busy.
import.meta.jest.setTimeout(60_000);

describe.each(DRIVERS)('$name: a client that stops reading for too long', (driver) => {
  const start = useFeeds();

  it('is disconnected after sendTimeout, with a warning', async () => {
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
    expect(logs.of('warn').join()).toMatch(/Feed\.feed.*read nothing/);
    client.resume();
    await expectEnd(driver, client, 'overload');
  });

  it('is disconnected after sendTimeout while the last chunk waits for it', async () => {
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

  it('is disconnected when its queue overflows, with a warning', async () => {
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
    'receives the exact number of dropped chunks if overflow is %s',
    async (overflow) => {
      const subject = new Subject<unknown>();
      const streams: StreamConnection[] = [];
      const { open, logs, registry } = await start(driver, {
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
      let last = 0;
      // How many are needed depends on the buffers of the kernel.
      while (registry.snapshot().totals.dropped < DROPPED) {
        subject.next({ i: ++last, text: KIB_64 });
        most = Math.max(most, streams[0]?.bufferedAmount ?? 0);
        await turns(1);
      }
      client.resume();
      const numberOf = (record: unknown): number | undefined => (record as { i?: number }).i;
      const droppedBy = (record: unknown): number => (record as { lagged?: { dropped: number } }).lagged?.dropped ?? 0;
      const placed = (records: readonly unknown[]): number =>
        records.reduce<number>((sum, record) => sum + (droppedBy(record) || 1), 0);
      await client.until((records) => placed(records) >= last);
      subject.next({ i: last + 1 });
      subject.complete();
      await expectEnd(driver, client, 'completed');

      const got = client.records.map(numberOf).filter((i) => i !== undefined);
      const dropped = client.records.reduce<number>((sum, record) => sum + droppedBy(record), 0);
      expect(got.length + dropped).toBe(last + 1);
      expect(dropped).toBeGreaterThan(0);
      expect(got).toEqual([...got].sort((a, b) => a - b));
      expect(got.at(-1)).toBe(last + 1);
      expect(got.includes(last)).toBe(overflow === 'drop-oldest');
      expect(most).toBeLessThan(2 * MIB);
      expect(logs.of('warn').join()).toContain('chunks were dropped');
    },
  );
});
