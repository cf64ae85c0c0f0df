import { Readable } from 'node:stream';
import type { StreamConnection } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { untilStable } from '../../support/running.js';
import { type Call, noise, useFeeds } from '../../support/transports.js';

const MIB = 1024 * 1024;
const LARGE = noise(MIB);
const KIB = noise(1_000);

// Some of these tests send much data, on machines that may be busy.
import.meta.jest.setTimeout(60_000);

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
      'a handler that awaits send()',
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

  it.each(SOURCES)('pauses %s, which continues when the client reads again', async (_, source) => {
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
    const stalledAt = await untilStable(() => counter.pulled, 150);

    // The buffers of the kernel grow up to tens of MiB, and the client's own library takes some chunks.
    expect(stalledAt - had).toBeLessThan(100);
    expect(streams[0]?.bufferedAmount).toBeGreaterThan(0);
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * MIB + 2 * 65_536);
    client.resume();
    await client.until(stalledAt + 5);
    expect(new Set(client.records).size).toBe(1);
  });

  it('leaves at most two full buffers in the process if chunks are small', async () => {
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

    await untilStable(() => pulled, 150);

    expect(streams[0]?.bufferedAmount).toBeGreaterThan(0);
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * 65_536);
  });
});
