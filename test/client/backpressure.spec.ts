import { Controller } from '@nestjs/common';
import { WebSocket } from 'ws';
import { connect } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { hubOf, joined, range } from '../support/hub.js';
import { turns, untilStable, useApps } from '../support/running.js';

const LARGE = 'x'.repeat(60_000);
/** No buffers hold as much: 600 MB. */
const MANY = 10_000;
/** More than the buffers of two kernels hold for a client that does not read: 120 MB. */
const PUBLISHED = 2_000;
const FAST = { WebSocket, retry: { base: 1, max: 1 } };

/** How many chunks the server has created. */
let created = 0;
/** Lets the server send the second half. */
let go = deferred();

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<unknown>) {}

  @Stream('large', { format: ['sse', 'ndjson', 'json-seq'] })
  *large() {
    for (created = 1; created <= MANY; created++) yield { n: created, LARGE };
  }

  @Stream('halves')
  async *halves() {
    // Without ids, and more than may wait in a client.
    for (let n = 1; n <= 50; n++) yield { n, LARGE };
    await go.promise;
  }

  @Stream('all', { format: ['sse', 'ndjson'] })
  all(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('newest', { format: ['sse', 'ndjson', 'json-seq'] })
  newest(@LastEventId() after?: string) {
    return this.hub.subscribe({ after, overflow: 'drop-oldest' });
  }
}

beforeEach(() => {
  created = 0;
  go = deferred();
});

describe.each(PLATFORMS)('%s: a client that reads slowly', (platform) => {
  const launch = useApps();
  const start = () =>
    launch(platform, {
      controllers: [Feed],
      imports: [
        StreamingModule.registerHub({
          name: 'feed',
          queue: { items: 100, bytes: 2 ** 30 },
        }),
      ],
      options: { websocket: true },
    });

  it.each(['sse', 'ndjson', 'json-seq'] as const)('slows down the generator of the server over %s', async (as) => {
    const app = await start();
    const stream = connect<{ n: number }>(app.url('/large'), { as });
    for (let n = 1; n <= 3; n++) {
      expect((await stream.next()).value?.data.n).toBe(n);
      // It waits for the client: no time would be enough to create them all.
      expect(await untilStable(() => created)).toBeLessThan(MANY / 2);
    }
    const before = created;
    for (let n = 4; n <= before + 50; n++) {
      expect((await stream.next()).value?.data.n).toBe(n);
    }
    expect(created).toBeGreaterThan(before);
    stream.close();
  });

  it('resumes over WebSocket after what it has read, if more waits than it keeps', async () => {
    const app = await start();
    const hub = hubOf<{ n: number; LARGE: string }>(app);
    const stream = connect<{ n: number }>(app.url('/all'), { ...FAST, as: 'ws' });
    const waits: unknown[] = [];
    stream.on('state', (state, error) => state === 'waiting' && waits.push(error));
    const first = stream.next();
    await joined(hub, 1);
    await hub.publish({ n: 1, LARGE });
    await first;
    for (let n = 2; n <= 100; n++) {
      await hub.publish({ n, LARGE });
    }
    // All of it was sent.
    await untilStable(() => app.sockets.seen.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0));
    const numbers: unknown[] = [];
    for await (const { data } of stream) {
      numbers.push(data.n);
      if (data.n === 100) break;
    }
    expect(numbers).toEqual(range(2, 100));
    expect(waits).toContainEqual(expect.objectContaining({ code: 'network', message: expect.stringMatching(/slow/) }));
  });

  it('learns over WebSocket that a stream without ids begins again, if more waits than it keeps', async () => {
    const app = await start();
    const stream = connect<{ n: number }>(app.url('/halves'), { ...FAST, as: 'ws' });
    const seen: unknown[] = [];
    stream.on('reset', ({ reason }) => seen.push(reason));
    await stream.next();
    // The rest arrives, and is too much.
    await untilStable(() => app.sockets.seen.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0));
    for (let last: unknown; seen.length < 3 || last !== 1; ) {
      const { value } = await stream.next();
      last = value?.data.n;
      seen.push(last);
    }
    stream.close();
    const at = seen.indexOf('no-id');
    expect(seen.slice(0, at)).toEqual(range(2, at + 1));
    expect(at).toBeGreaterThan(15);
    expect(seen.slice(at)).toEqual(['no-id', 1]);
  });

  it.each(['sse', 'ndjson', 'json-seq'] as const)(
    'receives lagged over %s in order with the items, and never as an item',
    async (as) => {
      const app = await start();
      const hub = hubOf<{ n: number; LARGE: string }>(app);
      const stream = connect<{ n: number }>(app.url('/newest'), { ...FAST, as });
      let place = 0;
      let gaps = 0;
      stream.on('lagged', ({ dropped }) => {
        gaps++;
        place += dropped;
      });
      const first = stream.next();
      await joined(hub, 1);
      for (let n = 1; n <= PUBLISHED; n++) {
        await hub.publish({ n, LARGE });
        await turns(1);
      }
      expect((await first).value?.data.n).toBe(++place);
      while (place < PUBLISHED) {
        const { value } = await stream.next();
        expect(value?.data.n).toBe(++place);
        expect(value?.type).toBeUndefined();
      }
      expect(gaps).toBeGreaterThan(0);
      stream.close();
    },
  );
});
