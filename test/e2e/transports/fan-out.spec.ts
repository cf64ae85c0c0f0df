import type { Socket } from 'node:net';
import { Controller, Query } from '@nestjs/common';
import { defineFormat, Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../../lib/index.js';
import { PLATFORMS, type Platform } from '../../support/app.js';
import type { StreamClient } from '../../support/drivers/client.js';
import { EVENTS, Http1Client, WebSocketClient } from '../../support/drivers/index.js';
import { PollingClient } from '../../support/drivers/polling.js';
import { hubOf, publishAll, range } from '../../support/hub.js';
import { turns, useApps } from '../../support/running.js';
import { eventually, noise } from '../../support/transports.js';

import.meta.jest.setTimeout(60_000);

type Headers = Readonly<Record<string, string>>;

/** A kind of client that subscribes to a hub. */
interface ClientKind {
  readonly name: string;
  /** Whether each response ends, and another request follows. */
  readonly polls?: true;
  open(port: number, path: string, headers: Headers): StreamClient;
}

const http = (accept: string, more: Headers = {}): ClientKind['open'] => {
  return (port, path, headers) => new Http1Client(port, path, { accept, ...more, ...headers });
};

const CLIENT_KINDS: readonly ClientKind[] = [
  { name: 'SSE', open: http('text/event-stream') },
  { name: 'NDJSON', open: http('application/x-ndjson') },
  { name: 'JSON-seq', open: http('application/json-seq') },
  { name: 'SSE, gzip', open: http('text/event-stream', { 'accept-encoding': 'gzip' }) },
  { name: 'NDJSON, gzip', open: http('application/x-ndjson', { 'accept-encoding': 'gzip' }) },
  {
    name: 'WebSocket',
    open: (port, path, headers) => new WebSocketClient(port, path, { ...headers }),
  },
  {
    name: 'WebSocket, events.v1+json',
    open(port, path, { 'last-event-id': lastEventId, ...headers }) {
      const ids = lastEventId === undefined ? [] : [`last-event-id.${encodeURIComponent(lastEventId)}`];
      return new WebSocketClient(port, path, headers, { protocols: [EVENTS, ...ids] });
    },
  },
  {
    name: 'long polling',
    polls: true,
    open: (port, path, headers) =>
      new PollingClient(`http://127.0.0.1:${port}${path}`, { accept: 'application/x-ndjson', ...headers }),
  },
];

/** The names of clients that have subscribed. */
const subscribed = new Set<string>();
let asked = 0;

const encoded: unknown[] = [];
const counted = defineFormat({
  name: 'counted',
  mediaTypes: ['application/x-counted'],
  encode(value) {
    encoded.push(value);
    return `${JSON.stringify(value)}\n`;
  },
});

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('hub', { format: ['sse', 'ndjson', 'json-seq'] })
  all(@Query('who') who: string, @LastEventId() after?: string) {
    subscribed.add(who);
    return this.hub.subscribe({ after });
  }

  @Stream('counted', { format: counted })
  counted() {
    return this.hub.subscribe();
  }
}

describe.each(PLATFORMS)('%s: one hub', (platform) => {
  const clients: StreamClient[] = [];
  afterEach(() => {
    for (const client of clients.splice(0)) {
      client.leave();
    }
  });
  // Registered after the hook above, because hooks of Jest run in reverse order.
  const launch = useApps();

  async function start() {
    const app = await launch(platform as Platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed', history: { limit: 100_000 } })],
      options: { websocket: true, compression: { encodings: ['gzip'], threshold: 0 } },
    });
    const hub = hubOf(app);
    let published = 0;
    const ids: string[] = [];
    return {
      ...app,
      hub,
      ids,
      last: () => published,
      /** Resolves when the client has subscribed. */
      async open(kind: ClientKind, after?: string): Promise<StreamClient> {
        const who = String(++asked);
        const client = kind.open(app.port, `/hub?who=${who}`, after === undefined ? {} : { 'last-event-id': after });
        clients.push(client);
        await eventually(() => subscribed.has(who) || client.ending !== undefined);
        return client;
      },
      /** Publishes a number of further events, in one turn. */
      async burst(size: number): Promise<void> {
        const numbers = range(published + 1, published + size);
        published += size;
        ids.push(...(await publishAll(hub, numbers.map(eventOf))));
      },
    };
  }

  const eventOf = (n: number): unknown => ({ n, text: `event ${n}: ü€👋` });

  /** The published events, from the first one that a client has. */
  function expectAll(kind: ClientKind, client: StreamClient, from: number, to: number): void {
    expect([kind.name, client.records]).toEqual([kind.name, range(from, to).map(eventOf)]);
  }

  it('delivers the same events in the same order to clients of all kinds that subscribed at different times', async () => {
    const { open, burst, ids, last } = await start();
    await burst(1);
    const joined: { readonly kind: ClientKind; readonly client: StreamClient; readonly from: number }[] = [];

    for (const size of [1, 2, 3, 50, 200]) {
      for (const kind of CLIENT_KINDS) {
        const from = last() + 1;
        // A poll receives a response only when there are events, so its id says where it begins.
        const client = await open(kind, kind.polls ? ids.at(-1) : undefined);
        joined.push({ kind, client, from });
        await burst(size);
      }
      await turns(1);
    }

    for (const { kind, client, from } of joined) {
      await client.until(last() - from + 1);
      expectAll(kind, client, from, last());
    }
  });

  it('lets clients of all kinds resume from any event while events are published', async () => {
    const { open, burst, ids, last } = await start();
    await burst(200);
    const joined: { readonly kind: ClientKind; readonly client: StreamClient; readonly from: number }[] = [];

    for (const from of [2, 64, 65, 128, 150, 200, 201]) {
      for (const kind of CLIENT_KINDS) {
        joined.push({ kind, client: await open(kind, ids[from - 2]), from });
      }
      await burst(7);
      await turns(1);
    }
    await burst(100);

    for (const { kind, client, from } of joined) {
      await client.until(last() - from + 1);
      expectAll(kind, client, from, last());
    }
  });

  it('continues for the others when clients of one kind stop reading and disconnect', async () => {
    const { open, burst, last, hub } = await start();
    const live = CLIENT_KINDS.filter(({ polls }) => !polls);
    const staying = await Promise.all(live.map(async (kind) => ({ kind, client: await open(kind) })));
    const leaving = await Promise.all(live.map((kind) => open(kind)));
    await Promise.all(leaving.map((client) => client.answered()));

    await burst(10);
    for (const client of leaving) {
      client.stall();
    }
    await burst(10);
    for (const client of leaving) {
      client.leave();
    }
    await burst(10);

    for (const { kind, client } of staying) {
      await client.until(last());
      expectAll(kind, client, 1, last());
    }
    await eventually(() => hub.size() === staying.length);
  });

  it('encodes each event once per format, for any number of clients', async () => {
    const { port, hub, burst } = await start();
    const many = range(1, 20).map(() => new Http1Client(port, '/counted', { accept: 'application/x-counted' }));
    clients.push(...many);
    await Promise.all(many.map((client) => client.answered()));
    encoded.length = 0;

    await burst(50);
    await Promise.all(many.map((client) => client.until(50)));

    expect(encoded).toEqual(range(1, 50).map(eventOf));
    expect(hub.size()).toBe(20);
  });

  it.each(CLIENT_KINDS.filter(({ polls }) => !polls))(
    'frames each event once for all its clients: $name',
    async (kind) => {
      const { open, hub, sockets } = await start();
      const large = noise(20_000);
      const many = await Promise.all(range(1, 20).map(() => open(kind)));
      // With compression, the first bytes for each client contain a header.
      await hub.publish('first');
      await Promise.all(many.map((client) => client.until(1)));
      const written = new Map<Socket, ArrayBufferLike[]>();
      for (const socket of sockets.seen) {
        watchWrites(socket, (bytes) => {
          // With compression, it is three quarters of that.
          if (bytes.length >= large.length / 2) {
            written.set(socket, [...(written.get(socket) ?? []), bytes.buffer]);
          }
        });
      }

      await hub.publish(large);
      await Promise.all(many.map((client) => client.until(2)));

      expect(written.size).toBe(20);
      expect(new Set([...written.values()].flat()).size).toBe(1);
    },
  );
});

/** Passes all bytes that are written to a socket to a function. */
function watchWrites(socket: Socket, look: (bytes: Uint8Array) => void): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (...args: unknown[]) => {
    const [data] = args;
    look(typeof data === 'string' ? Buffer.from(data) : (data as Uint8Array));
    return write(...args);
  };
}
