import { once } from 'node:events';
import { Readable } from 'node:stream';
import { Controller, Param } from '@nestjs/common';
import {
  ConnectedStream,
  Hub,
  type HubOptions,
  type HubOverflowPolicy,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamCloseReason,
  type StreamConnection,
  type StreamHooks,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { eventsOf, hubOf, joined, NDJSON, range, recordsOf, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { turns, untilStable, useApps } from '../support/running.js';

const MIB = 1024 * 1024;
/** The data of one event. */
const LARGE = 'x'.repeat(65_000);
/** The number of events of a history. */
const MANY = 200;
/** After so many dropped events, all that wait in the queue of a client were published after the first gap. */
const DROPPED = 20;
/** The bytes that a socket of Node.js buffers before write() returns `false`. */
const HIGH_WATER_MARK = new Readable().readableHighWaterMark;
const QUEUE = { items: 10, bytes: 64 * MIB };

const closes = new Recorder<StreamCloseReason['code']>();
const streams: StreamConnection[] = [];

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('returned/:overflow')
  returned(
    @ConnectedStream() stream: StreamConnection,
    @Param('overflow') overflow: HubOverflowPolicy,
    @LastEventId() after?: string,
  ) {
    this.meet(stream);
    return this.hub.subscribe({ overflow, after });
  }

  @Stream('iterated/:overflow', { openDelay: 0 })
  async *iterated(
    @ConnectedStream() stream: StreamConnection,
    @StreamSignal() signal: AbortSignal,
    @Param('overflow') overflow: HubOverflowPolicy,
    @LastEventId() after?: string,
  ) {
    this.meet(stream);
    yield* this.hub.subscribe({ overflow, after, signal });
  }

  @Stream('hooked/:overflow')
  hooked(@ConnectedStream() stream: StreamConnection, @Param('overflow') overflow: HubOverflowPolicy) {
    this.meet(stream, { beforeChunk: (chunk) => chunk });
    return this.hub.subscribe({ overflow });
  }

  @Sse('impatient', { sendTimeout: 100 })
  impatient(@ConnectedStream() stream: StreamConnection) {
    this.meet(stream);
    return this.hub.subscribe({ overflow: 'drop-oldest' });
  }

  private meet(stream: StreamConnection, hooks: StreamHooks = {}): void {
    streams.push(stream);
    stream.hooks({ ...hooks, onClose: (_stream, { code }) => closes.add(code) });
  }
}

const launch = useApps();

beforeEach(() => {
  closes.seen.length = 0;
  streams.length = 0;
});

async function start(platform: Platform, options: Partial<HubOptions> = {}) {
  const imports = [StreamingModule.registerHub({ name: 'feed', queue: QUEUE, ...options })];
  const app = await launch(platform, { controllers: [Feed], imports });
  const hub = hubOf<string>(app);
  const come = async (path: string, headers: Record<string, string>): Promise<RawClient> => {
    const size = hub.size() + 1;
    const client = await app.get(path, headers);
    keepEnd(client);
    await client.until('\r\n\r\n');
    await joined(hub, size);
    return client;
  };
  return { ...app, hub, come };
}

/** What clients received last. To look at the end of all they have received would cost more with every piece. */
const ends = new WeakMap<RawClient, string>();

function keepEnd(client: RawClient): void {
  client.socket.on('data', (data: string) =>
    ends.set(client, ((ends.get(client) ?? '') + data.slice(-200)).slice(-200)),
  );
}

/** Waits until a text is at the end of the data that a client has received. */
async function endsWith(client: RawClient, text: string): Promise<void> {
  while (!ends.get(client)?.includes(text)) {
    await once(client.socket, 'data');
  }
}

/** Publishes a large event, and waits until all `others` have received it. Resolves to its id. */
async function publishLarge(hub: Hub<string>, n: number, others: readonly RawClient[]): Promise<string> {
  const id = await hub.publish(`${n} ${LARGE} end of ${n}`, { key: `${n % 5}` });
  await Promise.all(others.map((other) => endsWith(other, `end of ${n}`)));
  return id;
}

/**
 * Publishes large events, numbered from `first` on, until a condition holds. Resolves to the number of the last one. How many events are needed
 * depends on the kernel: its buffers for a client that does not read grow up to tens of megabytes.
 */
async function publishUntil(
  hub: Hub<string>,
  others: readonly RawClient[],
  done: () => boolean,
  first = 1,
): Promise<number> {
  for (let n = first; ; n++) {
    await publishLarge(hub, n, others);
    if (done()) {
      return n;
    }
  }
}

/** What a client received: the numbers of events, and for each `lagged` the number of dropped events as a negative number. */
function numbersOf({ body, head }: RawClient): number[] {
  if (/ndjson/.test(head)) {
    return body
      .split('\n')
      .slice(0, -1)
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as string | { lagged: { dropped: number } })
      .map((value) => (typeof value === 'string' ? Number.parseInt(value, 10) : -value.lagged.dropped));
  }
  return eventsOf(body).map(({ event, data = '' }) =>
    event === 'lagged' ? -(JSON.parse(data) as { dropped: number }).dropped : Number.parseInt(data, 10),
  );
}

/**
 * Counts received and dropped events, and expects each in its place. There are one or more gaps, because the buffers of the operating
 * system may have had room in between.
 */
function placesIn(numbers: readonly number[]): number {
  let at = 0;
  for (const n of numbers) {
    at = n < 0 ? at - n : at + 1;
    expect(n < 0 || n === at).toBe(true);
  }
  expect(numbers.some((n) => n < 0)).toBe(true);
  return at;
}

/** Waits until a number of events was received or reported as dropped. */
async function untilAccountedFor(client: RawClient, count: number): Promise<number[]> {
  for (;;) {
    const numbers = numbersOf(client);
    const had = numbers.filter((n) => n > 0).length;
    const dropped = numbers.filter((n) => n < 0).reduce((sum, n) => sum - n, 0);
    if (had + dropped >= count) {
      return numbers;
    }
    await once(client.socket, 'data');
    // Not for each piece: there is much to look through.
    await untilStable(() => client.socket.bytesRead, 10);
  }
}

interface Waiting {
  readonly items: number;
  readonly bytes: number;
  readonly waiting: Map<unknown, unknown>;
  readonly losses: { readonly dropped: number };
}

/** The queues of the subscribers of a hub, in the order in which they subscribed. A subscriber that has always been fast has none. */
function queuesOf(hub: Hub<string>): (Waiting | undefined)[] {
  const { subscribers } = hub as unknown as {
    readonly subscribers: { readonly subscribers: Iterable<{ readonly writer: { readonly backlog?: Waiting } }> };
  };
  return [...subscribers.subscribers].map(({ writer }) => writer.backlog);
}

/** The number of events that a hub has dropped for its slow subscribers, by its own count. */
function droppedBy(hub: Hub<string>): number {
  return queuesOf(hub).reduce((sum, queue) => sum + (queue?.losses.dropped ?? 0), 0);
}

/** What the hub holds for its subscribers, by its own count. */
function heldBy(hub: Hub<string>): { readonly items: number; readonly bytes: number }[] {
  return queuesOf(hub).map((queue) => {
    expect(queue?.waiting.size ?? 0).toBeLessThanOrEqual(2 * (queue?.items ?? 0) + 1);
    return { items: queue?.items ?? 0, bytes: queue?.bytes ?? 0 };
  });
}

describe.each(PLATFORMS)('%s: a client that stops reading, with the policy disconnect', (platform) => {
  it.each(['returned', 'hooked'])(
    'is cut off with a warning, reconnects with its id, and misses nothing: %s',
    async (route) => {
      const { hub, come, logs } = await start(platform);
      const client = await come(`/${route}/disconnect`, SSE);
      const other = await come('/returned/disconnect', SSE);
      client.socket.pause();

      const last = await publishUntil(hub, [other], () => hub.size() === 1);

      expect(await closes.count(1)).toEqual(['slow-consumer']);
      expect(hub.size()).toBe(1);
      expect(logs.of('warn')).toEqual([
        expect.stringMatching(new RegExp(`Feed\\.${route} \\(stream .*was closed.*too slow`)),
      ]);
      client.socket.resume();
      await client.closed();
      const first = numbersOf(client);
      expect(first).toEqual(range(1, first.length));
      expect(client.complete).toBe(false);
      const back = await come('/returned/disconnect', {
        ...SSE,
        'Last-Event-ID': recordsOf(client.body).at(-1)?.id ?? '',
      });
      expect(await untilAccountedFor(back, last - first.length)).toEqual(range(first.length + 1, last));
    },
  );

  it('causes an error in the loop that reads for it', async () => {
    const { hub, come, logs } = await start(platform);
    const client = await come('/iterated/disconnect', SSE);
    const other = await come('/returned/disconnect', SSE);
    client.socket.pause();

    await publishUntil(hub, [other], () => hub.size() === 1);
    client.socket.resume();
    await client.closed();

    expect(await closes.count(1)).toEqual(['error']);
    expect(logs.of('error').join()).toMatch(/Feed\.iterated.*failed.*slow-consumer|too slow/s);
    const numbers = numbersOf(client).filter((n) => !Number.isNaN(n));
    expect(numbers).toEqual(range(1, numbers.length));
    expect(client.complete).toBe(false);
  });
});

describe.each(PLATFORMS)('%s: a client that stops reading receives the number of dropped events', (platform) => {
  const POLICIES = ['drop-oldest', 'drop-newest', 'latest'] as const;
  const ROUTES = ['returned', 'iterated', 'hooked'];
  const FORMATS = [
    ['SSE', SSE],
    ['NDJSON', NDJSON],
  ] as const;

  it.each(
    POLICIES.flatMap((policy) =>
      ROUTES.flatMap((route) => FORMATS.map((format) => [policy, route, ...format] as const)),
    ),
  )(
    '%s, %s, %s: exactly, in the place of the gap, while others receive all events',
    async (policy, route, _name, headers) => {
      const { hub, come, logs } = await start(platform);
      const others = [await come('/returned/disconnect', SSE), await come('/iterated/disconnect', NDJSON)];
      const client = await come(`/${route}/${policy}`, headers);
      client.socket.pause();

      const last = await publishUntil(hub, others, () => droppedBy(hub) >= DROPPED);
      client.socket.resume();
      const numbers = await untilAccountedFor(client, last);
      await hub.publish(`${last + 1} last`);
      await endsWith(client, `${last + 1} last`);

      expect(placesIn(numbers)).toBe(last);
      if (policy === 'drop-newest') {
        // The waiting events were published before the dropped ones.
        expect(numbers.at(-1)).toBeLessThan(0);
      } else {
        const kept = range(last - (policy === 'latest' ? 4 : 9), last);
        expect(numbers.slice(-kept.length)).toEqual(kept);
      }
      expect(numbersOf(client)).toEqual([...numbers, last + 1]);
      for (const other of others) {
        await endsWith(other, `${last + 1} last`);
        expect(numbersOf(other)).toEqual(range(1, last + 1));
      }
      expect(closes.seen).toEqual([]);
      expect(logs.of('error')).toEqual([]);
    },
    30_000,
  );

  it('repeatedly, whenever it reads a little', async () => {
    const { hub, come } = await start(platform);
    const other = await come('/returned/disconnect', SSE);
    const client = await come('/returned/drop-oldest', SSE);

    let last = 0;
    for (const round of range(1, 3)) {
      client.socket.pause();
      last = await publishUntil(hub, [other], () => droppedBy(hub) >= round * DROPPED, last + 1);
      client.socket.resume();
      await endsWith(client, `end of ${last}`);
    }

    const numbers = await untilAccountedFor(client, last);
    expect(numbers.filter((n) => n < 0).length).toBeGreaterThanOrEqual(3);
    expect(placesIn(numbers)).toBe(last);
  }, 60_000);
});

describe.each(PLATFORMS)('%s: the memory held for a client that stops reading', (platform) => {
  const POLICIES = ['drop-oldest', 'drop-newest', 'latest'] as const;
  const ROUTES = ['returned', 'iterated', 'hooked'];

  it.each(POLICIES.flatMap((policy) => ROUTES.map((route) => [policy, route])))(
    'is bounded by its queue and the buffer of its socket: %s, %s',
    async (policy, route) => {
      const { hub, come } = await start(platform, { queue: { items: 20, bytes: MIB } });
      const client = await come(`/${route}/${policy}`, SSE);
      client.socket.pause();
      let most = 0;

      for (let n = 1; droppedBy(hub) < DROPPED; n++) {
        // Without keys, so that nothing is superseded before there are too many.
        await hub.publish(`${n} ${LARGE}`);
        await turns(2);
        const [held] = heldBy(hub);
        expect(held?.bytes).toBeLessThanOrEqual(MIB);
        expect(held?.items).toBeLessThanOrEqual(20);
        most = Math.max(most, streams[0]?.bufferedAmount ?? 0);
      }
      expect(heldBy(hub)[0]?.items).toBe(Math.floor(MIB / (LARGE.length + 4)));
      for (const n of range(1, 100)) {
        await hub.publish(`${n}`);
      }
      await turns(5);
      expect(heldBy(hub)[0]?.items).toBe(20);

      // One write that has begun, and the data that is gathered while the socket is full.
      expect(most).toBeLessThanOrEqual(2 * 66_000 + 2 * HIGH_WATER_MARK);
      expect(most).toBeGreaterThan(0);
    },
    30_000,
  );

  it('is released when it disconnects', async () => {
    const { hub, come } = await start(platform, { queue: { items: 20, bytes: MIB } });
    const other = await come('/returned/disconnect', SSE);
    const client = await come('/returned/drop-oldest', SSE);
    client.socket.pause();
    await publishUntil(hub, [other], () => (heldBy(hub)[1]?.items ?? 0) > 0);

    client.disconnect();
    await joined(hub as Hub, 1);

    expect(heldBy(hub)).toEqual([{ items: 0, bytes: 0 }]);
  });

  it('is bounded by the buffer of its socket while it receives the history', async () => {
    const { hub, come } = await start(platform, { queue: { items: 1, bytes: 1 }, history: { limit: MANY } });
    const first = await publishLarge(hub, 1, []);
    for (const n of range(2, MANY)) {
      await publishLarge(hub, n, []);
    }
    const client = await come('/returned/disconnect', { ...SSE, 'Last-Event-ID': first });
    client.socket.pause();
    await turns(200);

    expect(heldBy(hub)).toEqual([{ items: 0, bytes: 0 }]);
    // A write ends with the event that brings it above 64 KiB.
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(3 * 66_000 + 2 * HIGH_WATER_MARK);
    client.socket.resume();
    expect(await untilAccountedFor(client, MANY - 1)).toEqual(range(2, MANY));
  }, 60_000);
});

describe.each(PLATFORMS)('%s: sendTimeout', (platform) => {
  it('disconnects a client of a hub that reads nothing, whatever the policy is, and does not affect other clients', async () => {
    const { hub, come, logs } = await start(platform);
    const other = await come('/returned/disconnect', SSE);
    const client = await come('/impatient', SSE);
    client.socket.pause();

    const last = await publishUntil(hub, [other], () => droppedBy(hub) >= DROPPED || hub.size() === 1);

    expect(await closes.count(1)).toEqual(['send-timeout']);
    expect(logs.of('warn')).toEqual([expect.stringMatching(/Feed\.impatient.*read nothing/)]);
    expect(hub.size()).toBe(1);
    await publishLarge(hub, last + 1, [other]);
    expect(numbersOf(other)).toEqual(range(1, last + 1));
  });

  it('does not apply to a client that has read everything', async () => {
    const { hub, come } = await start(platform);
    const client = await come('/impatient', SSE);
    await publishLarge(hub, 1, [client]);
    await publishLarge(hub, 2, [client]);

    await new Promise((resolve) => setTimeout(resolve, 300));
    await publishLarge(hub, 3, [client]);

    expect(numbersOf(client)).toEqual([1, 2, 3]);
    expect(closes.seen).toEqual([]);
  });
});
