import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Controller, type INestApplication, Query } from '@nestjs/common';
import fc from 'fast-check';
import type { OpenStream } from '../../lib/connection/open-stream.js';
import {
  ConnectedStream,
  event,
  Hub,
  InjectHub,
  LastEventId,
  Stream,
  type StreamCloseReason,
  type StreamConnection,
} from '../../lib/index.js';
import { useRoundWriter } from '../../lib/transport/round-writer.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { eventsOf, joined, NDJSON, publishAll, range, SSE, untilLast } from '../support/hub.js';
import { useHubApps } from '../support/hub-feed.js';
import type { RawClient } from '../support/raw-client.js';
import { usualWriter } from '../support/round-writer.js';
import { turns } from '../support/running.js';

const start = useHubApps();

/** How many clients are enough for a row. */
const SEVERAL = 10;

/** What a stream says about itself when it is closed. */
interface Figures {
  readonly chunks: number;
  readonly bytes: number;
  readonly reason: StreamCloseReason['code'];
}

@Controller()
class Listeners {
  /** The streams by the number in their URL. */
  readonly streams = new Map<number, OpenStream>();
  readonly closed = new Map<number, Figures>();

  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('listen', {
    format: ['sse', 'ndjson', 'text'],
    compression: { encodings: ['gzip'], threshold: 0 },
    heartbeat: 4_000,
    sendTimeout: 60_000,
  })
  listen(@Query('n') n: string, @ConnectedStream() stream: StreamConnection, @LastEventId() after?: string) {
    const open = stream as OpenStream;
    this.streams.set(Number(n), open);
    stream.hooks({
      onClose: (_stream, { code: reason }) => {
        const { chunks, bytes } = open.body;
        this.closed.set(Number(n), { chunks, bytes, reason });
      },
    });
    return this.hub.subscribe({ after });
  }
}

/** An application with clients that read a hub, on a clock that a test moves. */
async function setup(
  platform: Platform,
  count: number,
  configure?: (app: INestApplication) => void,
  accept: Record<string, string> = SSE,
) {
  const written: number[] = [];
  useRoundWriter((sockets, bytes) => {
    written.push(sockets.length);
    return usualWriter(sockets, bytes);
  });
  const running = await start(platform, [Listeners], { configure });
  const { hub, registry } = running;
  const { streams, closed } = running.app.get(Listeners);
  let now = 1_000_000;
  registry.clock.follow(() => now, true);
  const clients: RawClient[] = [];
  const join = async (headers: Record<string, string> = SSE): Promise<number> => {
    const n = clients.length;
    const client = await running.get(`/listen?n=${n}`, headers);
    clients.push(client);
    await client.until('\r\n\r\n');
    return n;
  };
  clients.push(...(await Promise.all(range(0, count - 1).map((n) => running.get(`/listen?n=${n}`, accept)))));
  await joined(hub, count);
  const read = (n: number): RawClient => clients[n] as RawClient;
  return {
    ...running,
    clients,
    closed,
    /** The server's side of the connection of a client. */
    socket: (n: number) => (streams.get(n) as unknown as { transport: { carrier: Socket } }).transport.carrier,
    written,
    join,
    read,
    stream: (n: number) => streams.get(n) as OpenStream,
    /** Publishes an event and waits until clients have it. */
    async reach(data: string, among = range(0, clients.length - 1)): Promise<void> {
      const all = among.map((n) => read(n).until(`data: ${data}\n`));
      await hub.publish(data);
      await Promise.all(all);
    },
    /** Lets time pass in steps of the clock. */
    pass(ms: number): void {
      for (let left = ms; left > 0; left -= registry.clock.tickMs) {
        now += registry.clock.tickMs;
        registry.clock.tick();
      }
    },
  };
}

afterEach(() => useRoundWriter(usualWriter));

/** The number of bytes of the body that a client has received. */
const sizeOf = (client: RawClient): number => Buffer.byteLength(client.body, 'latin1');
const dataOf = (client: RawClient): string[] => eventsOf(client.body).map(({ data }) => data);

describe.each(PLATFORMS)('%s: the sockets of clients for which nothing waits', (platform) => {
  it('are written to side by side from the second round, and every figure counts that', async () => {
    const { reach, written, hub, clients, stream, registry } = await setup(platform, SEVERAL);

    await reach('one');
    expect(written).toEqual([]);
    await reach('two');
    await publishAll(hub, ['three', 'four']);
    await Promise.all(clients.map((client) => client.until('four')));

    expect(written).toEqual([SEVERAL, SEVERAL]);
    for (const [n, client] of clients.entries()) {
      expect(dataOf(client)).toEqual(['one', 'two', 'three', 'four']);
      expect(stream(n).body).toMatchObject({ chunks: 4, bytes: sizeOf(client), blocked: false });
      expect(stream(n).reader?.lastId).toBe(eventsOf(client.body).at(-1)?.id);
    }
    const { totals } = registry.snapshot();
    expect(totals.chunks).toBe(4 * SEVERAL);
    expect(totals.bytes).toBe(clients.reduce((sum, client) => sum + sizeOf(client), 0));
  });

  it('are those of plain HTTP/1.1: not those of clients with compression or another format, nor those of few clients', async () => {
    const { hub, written, join, clients } = await setup(platform, SEVERAL);
    await join(NDJSON);
    await join({ ...SSE, 'Accept-Encoding': 'gzip' });
    for (const data of ['one', 'two']) {
      await publishAll(hub, [data]);
      await hub.settled();
    }
    await Promise.all(clients.slice(0, SEVERAL + 1).map((client) => client.until('two')));

    expect(written).toEqual([SEVERAL]);
  });

  it('receive own chunks of a stream in the order in which they were sent', async () => {
    const { hub, stream, clients, reach, read, written } = await setup(platform, SEVERAL);
    await reach('one');
    await reach('two');

    void stream(3).send(event({ type: 'own', data: 'A' }));
    await publishAll(hub, ['three']);
    await hub.settled();
    void stream(3).send(event({ type: 'own', data: 'B' }));
    await publishAll(hub, ['four']);
    await Promise.all(clients.map((client) => client.until('four')));
    await reach('five');

    expect(dataOf(read(3))).toEqual(['one', 'two', 'A', 'three', 'B', 'four', 'five']);
    expect(dataOf(read(4))).toEqual(['one', 'two', 'three', 'four', 'five']);
    expect(stream(3).body).toMatchObject({ chunks: 7, bytes: sizeOf(read(3)) });
    expect(written.at(-1)).toBe(SEVERAL);
  });

  it('receive half of a character that a stream has sent before the next round', async () => {
    const { hub, stream, clients, read, written } = await setup(platform, SEVERAL, undefined, { Accept: 'text/plain' });
    for (const data of ['one', 'two']) {
      await publishAll(hub, [data]);
      await Promise.all(clients.map((client) => client.until(data)));
    }

    void stream(3).send('\ud83d');
    await publishAll(hub, ['three']);
    await Promise.all(clients.map((client) => client.until('three')));

    expect(written).toEqual([SEVERAL, SEVERAL - 1]);
    expect(Buffer.from(read(3).body, 'latin1').toString()).toBe('onetwo\ufffdthree');
    expect(read(4).body).toBe('onetwothree');
  });

  it('have heartbeats only after the last round, and receive the next round after them', async () => {
    const { clients, reach, pass, stream } = await setup(platform, SEVERAL);
    await reach('one');
    for (let i = 0; i < 5; i++) {
      pass(3_000);
      await reach(`round ${i}`);
    }
    expect(clients.map(({ body }) => body.match(/^:/gm)?.length)).toEqual(clients.map(() => undefined));

    pass(5_000);
    await Promise.all(clients.map((client) => client.until('\n:\n')));
    await reach('after');

    for (const [n, client] of clients.entries()) {
      expect(client.body.match(/^:/gm)).toHaveLength(1);
      expect(stream(n).body).toMatchObject({ chunks: 7, bytes: sizeOf(client) });
    }
  });

  it('leave when they are full, wait for their client, and come back after it has read', async () => {
    const { clients, hub, reach, stream, socket, written, read, pass } = await setup(platform, SEVERAL);
    await reach('one');
    const large = 'x'.repeat(40_000);
    socket(2).cork();
    const others = range(0, SEVERAL - 1).filter((n) => n !== 2);
    await publishAll(hub, [large]);
    await hub.settled();
    await reach('two', others);

    expect(stream(2).body.blocked).toBe(true);
    expect(others.map((n) => stream(n).body.blocked)).not.toContain(true);
    expect(written).toEqual([SEVERAL, SEVERAL - 1]);
    pass(10_000);
    await reach('three', others);
    socket(2).uncork();
    await read(2).until('three');
    await reach('four');
    await reach('five');

    expect(written.at(-1)).toBe(SEVERAL);
    for (const [n, client] of clients.entries()) {
      expect(dataOf(client)).toEqual(['one', large, 'two', 'three', 'four', 'five']);
      expect(stream(n).body).toMatchObject({ chunks: 6, bytes: sizeOf(client) });
    }
  });

  it('have a send timeout only if their client does not read', async () => {
    const { hub, reach, pass, socket, closed, registry } = await setup(platform, SEVERAL);
    await reach('one');
    socket(2).cork();
    await publishAll(hub, ['x'.repeat(40_000)]);
    const others = range(0, SEVERAL - 1).filter((n) => n !== 2);
    for (let i = 0; i < 7; i++) {
      await reach(`round ${i}`, others);
      pass(10_000);
    }

    expect([...closed]).toEqual([[2, expect.objectContaining({ reason: 'send-timeout' })]]);
    expect(registry.size).toBe(SEVERAL - 1);
  });

  it('pass every chunk to a hook that is added later, in order and once', async () => {
    const { reach, read, stream, written } = await setup(platform, SEVERAL);
    await reach('one');
    await reach('two');
    stream(5).hooks({ beforeChunk: (chunk) => event({ type: 'hooked', data: (chunk as { data: unknown }).data }) });
    await reach('three');
    await reach('four');

    expect(eventsOf(read(5).body).map(({ event: type, data }) => [type, data])).toEqual([
      [undefined, 'one'],
      [undefined, 'two'],
      ['hooked', 'three'],
      ['hooked', 'four'],
    ]);
    expect(stream(5).body).toMatchObject({ chunks: 4, bytes: sizeOf(read(5)) });
    expect(written).toEqual([SEVERAL, SEVERAL - 1, SEVERAL - 1]);
  });

  it('end with figures that count every round, by the server or by the client', async () => {
    const { reach, clients, stream, closed, read, hub } = await setup(platform, SEVERAL);
    await reach('one');
    await reach('two');
    await stream(1).close();
    read(2).disconnect();
    await joined(hub, SEVERAL - 2);
    const rest = range(0, SEVERAL - 1).filter((n) => n !== 1 && n !== 2);
    await reach('three', rest);

    expect(closed.get(1)).toEqual({ chunks: 2, bytes: sizeOf(read(1)), reason: 'completed' });
    expect(closed.get(2)).toEqual({ chunks: 2, bytes: sizeOf(read(2)), reason: 'client-closed' });
    expect(read(1).complete).toBe(true);
    await hub.close();
    await Promise.all(rest.map((n) => read(n).until('\r\n0\r\n\r\n')));
    for (const n of rest) {
      expect(closed.get(n)).toEqual({ chunks: 3, bytes: sizeOf(clients[n] as RawClient), reason: 'completed' });
    }
  });

  it('receive nothing after the last chunk if other code ends the response', async () => {
    const responses: ServerResponse[] = [];
    const { reach, read, closed, hub } = await setup(platform, SEVERAL, (app) => {
      app.use((_request: unknown, response: ServerResponse, next: () => void) => {
        responses.push(response);
        next();
      });
    });
    await reach('one');
    await reach('two');

    responses[4]?.end();
    const rest = range(0, SEVERAL - 1).filter((n) => n !== 4);
    await reach('three', rest);
    await read(4).until('\r\n0\r\n\r\n');
    await joined(hub, SEVERAL - 1);

    expect(read(4).complete).toBe(true);
    expect(dataOf(read(4))).toEqual(['one', 'two']);
    expect(closed.get(4)).toMatchObject({ chunks: 2, bytes: sizeOf(read(4)) });
  });

  it('do not fail others when one is destroyed before a round, and its close has not been reported', async () => {
    const { reach, socket, hub, closed, logs } = await setup(platform, SEVERAL);
    await reach('one');
    await reach('two');
    const rest = range(0, SEVERAL - 1).filter((n) => n !== 0);

    const reached = reach('three', rest);
    socket(0).destroy();
    await reached;
    await joined(hub, SEVERAL - 1);
    await reach('four', rest);

    expect(closed.get(0)?.reason).toBe('client-closed');
    expect(logs.of('error')).toEqual([]);
  });
});

type Command =
  | { readonly kind: 'publish'; readonly count: number; readonly size: number }
  | { readonly kind: 'turn' | 'join' | 'pass' }
  | { readonly kind: 'send' | 'hook' | 'close' | 'leave' | 'cork' | 'uncork'; readonly at: number };

const COMMANDS = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('publish' as const),
        count: fc.integer({ min: 1, max: 3 }),
        size: fc.constantFrom(5, 200, 20_000),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        { kind: 'turn' as const },
        { kind: 'turn' as const },
        { kind: 'join' as const },
        { kind: 'pass' as const },
      ),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom(
          'send' as const,
          'hook' as const,
          'close' as const,
          'leave' as const,
          'cork' as const,
          'uncork' as const,
        ),
        at: fc.nat(1_000),
      }),
    },
  ),
  { minLength: 10, maxLength: 30 },
);

/** Makes every read of the clock of time slices a slice later, so that a round takes many turns of the event loop. */
function shortSlices(): () => void {
  let time = performance.now();
  Object.defineProperty(performance, 'now', { value: () => (time += 3), configurable: true });
  return () => void Reflect.deleteProperty(performance, 'now');
}

/** More than are written to before the clock is read. */
const MANY = 80;

describe.each(PLATFORMS)('%s: clients of a hub whose rounds take several turns', (platform) => {
  it('receive every event once and in order, with exact figures, whatever happens between the turns', async () => {
    const restore = shortSlices();
    try {
      await fc.assert(
        fc.asyncProperty(COMMANDS, async (commands) => {
          const app = await setup(platform, MANY);
          const run = new Run(app);
          try {
            for (const command of commands) {
              await run.take(command);
            }
            await run.finish();
          } finally {
            for (const client of app.clients) {
              client.disconnect();
            }
            await app.close();
          }
        }),
        { numRuns: 3, endOnFailure: true },
      );
    } finally {
      restore();
    }
  }, 120_000);
});

/** Runs commands, and knows what each client must have received at the end. */
class Run {
  private readonly published: string[] = [];
  private readonly from: number[] = [];
  private readonly own = new Map<number, string[]>();
  private readonly gone = new Set<number>();
  private readonly ended = new Set<number>();

  constructor(private readonly app: Awaited<ReturnType<typeof setup>>) {
    this.from = app.clients.map(() => 0);
  }

  async take(command: Command): Promise<void> {
    const { app } = this;
    switch (command.kind) {
      case 'publish':
        for (let i = 0; i < command.count; i++) {
          this.published.push(`event ${this.published.length} `.padEnd(command.size, 'x'));
          void app.hub.publish(this.published.at(-1));
        }
        return;
      case 'turn':
        return turns(1);
      case 'pass':
        return app.pass(2_000);
      case 'join':
        await app.hub.settled();
        this.from[await app.join()] = this.published.length;
        return;
      default:
        this.act(command.kind, command.at % app.clients.length);
    }
  }

  private act(kind: 'send' | 'hook' | 'close' | 'leave' | 'cork' | 'uncork', n: number): void {
    const { app } = this;
    if (this.gone.has(n) || this.ended.has(n)) {
      return;
    }
    if (kind === 'send') {
      const own = this.own.get(n) ?? [];
      this.own.set(n, own);
      own.push(`own ${own.length}`);
      void app.stream(n).send(event({ type: 'own', data: own.at(-1) }));
    } else if (kind === 'hook') {
      app.stream(n).hooks({ beforeChunk: (chunk) => chunk });
    } else if (kind === 'close') {
      this.ended.add(n);
      void app.stream(n).close();
    } else if (kind === 'leave') {
      this.gone.add(n);
      app.read(n).disconnect();
    } else if (kind === 'cork') {
      app.socket(n).cork();
    } else {
      this.uncork(n);
    }
  }

  private uncork(n: number): void {
    const socket = this.app.socket(n);
    while (socket.writableCorked > 0) {
      socket.uncork();
    }
  }

  async finish(): Promise<void> {
    const { app, published } = this;
    for (const n of app.clients.keys()) {
      this.uncork(n);
    }
    const here = range(0, app.clients.length - 1).filter((n) => !this.gone.has(n));
    const living = here.filter((n) => !this.ended.has(n));
    published.push('last');
    const arrived = living.map((n) => untilLast(app.read(n), 'data: last\n\n'));
    await app.hub.publish('last');
    await Promise.all(arrived);
    for (const n of living) {
      this.check(n, app.stream(n).body);
    }
    await Promise.all(here.map((n) => app.stream(n).close()));
    await Promise.all(here.map((n) => app.read(n).until('\r\n0\r\n\r\n')));
    for (const n of here) {
      this.check(n, app.closed.get(n));
    }
    for (const n of this.gone) {
      expect(app.closed.get(n)?.bytes).toBeGreaterThanOrEqual(sizeOf(app.read(n)));
    }
    expect(app.logs.of('error')).toEqual([]);
  }

  /** Compares what a client has received with what was published, and with the figures of its stream. */
  private check(n: number, figures: { readonly chunks: number; readonly bytes: number } | undefined): void {
    const client = this.app.read(n);
    const records = eventsOf(client.body);
    const events = records.filter(({ event: type }) => type !== 'own').map(({ data }) => data);
    const own = records.filter(({ event: type }) => type === 'own').map(({ data }) => data);
    const expected = this.published.slice(this.from[n]);
    expect(events).toEqual(this.ended.has(n) ? expected.slice(0, events.length) : expected);
    expect(own).toEqual(this.own.get(n) ?? []);
    expect(figures).toMatchObject({ chunks: records.length, bytes: sizeOf(client) });
  }
}
