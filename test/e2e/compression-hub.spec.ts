import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { gunzipSync } from 'node:zlib';
import { Controller, Query } from '@nestjs/common';
import {
  ConnectedStream,
  event,
  type Hub,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamingModuleOptions,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { CODINGS, DecodingClient } from '../support/decoding-client.js';
import { dataOf, hubOf, joined, PublishLoop, publishAll, range } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';
import { itWith } from '../support/tools.js';

const launch = useApps();
const ALL: StreamingModuleOptions = { compression: { encodings: ['zstd', 'br', 'gzip'] } };
const HEADER = '1f8b08000000000000ff';
/** 96 KiB of text that hardly compresses. Blocks are independent, so it may be sent repeatedly. */
const NOISE = randomBytes(73_728).toString('base64');

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('returned')
  returned(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('beats', { heartbeat: 20 })
  beats() {
    return this.hub.subscribe();
  }

  @Stream('topics', { heartbeat: 20 })
  topics(@Query('topic') topic: string) {
    return this.hub.subscribe({ topic });
  }

  @Stream('even')
  even() {
    return this.hub.subscribe({ filter: ({ data }) => Number(data) % 2 === 0 });
  }

  @Stream('sent-before')
  sentBefore(@ConnectedStream() stream: StreamConnection) {
    void stream.send(event({ data: 'before' }));
    return this.hub.subscribe();
  }

  @Stream('flushed-before')
  async flushedBefore(@ConnectedStream() stream: StreamConnection) {
    await stream.send(event({ data: 'before' }));
    stream.flush();
    await turns();
    return this.hub.subscribe();
  }

  @Stream('with-sends')
  withSends(@ConnectedStream() stream: StreamConnection) {
    this.streams.push(stream);
    return this.hub.subscribe();
  }
  readonly streams: StreamConnection[] = [];

  @Stream('iterated')
  async *iterated(@StreamSignal() signal: AbortSignal) {
    for await (const event of this.hub.subscribe({ signal })) {
      yield event;
    }
  }

  @Stream('each', { flush: 'each' })
  each() {
    return this.hub.subscribe();
  }
}

describe.each(PLATFORMS)('%s: the compressed stream of a hub', (platform) => {
  async function start(options: StreamingModuleOptions = ALL) {
    const imports = [StreamingModule.registerHub({ name: 'feed' })];
    const app = await launch(platform, { controllers: [Feed], imports, options });
    const hub = hubOf(app);
    let clients = 0;
    /** A client that has subscribed. */
    const client = async (path: string, accept = 'gzip', type = 'text/event-stream', after?: string) => {
      const headers = { Accept: type, 'Accept-Encoding': accept, ...(after && { 'Last-Event-ID': after }) };
      const joining = await DecodingClient.get(app.url(path), headers);
      await joined(hub, ++clients);
      return joining;
    };
    return { ...app, hub, client };
  }

  it.each<[string, string | undefined]>([
    ['gzip', 'gzip'],
    ['gzip, deflate, br, zstd', 'gzip'],
    ['gzip;q=0.1, br;q=1', 'gzip'],
    ['br', 'br'],
    ['gzip;q=0, *', CODINGS[0]],
    ['identity', undefined],
    ['identity;q=1, gzip;q=0.5', undefined],
  ])('with Accept-Encoding: %s is sent as %p', async (accept, coding) => {
    const { client, hub } = await start();

    const response = await client('/returned', accept);
    await hub.publish('an event');
    await response.until('data: an event\n\n');
    await hub.close();

    expect(dataOf(await response.over())).toEqual(['an event']);
    expect(response.coding).toBe(coding);
    expect(response.ended).toBe(true);
  });

  it('has another encoding if the route does not offer gzip', async () => {
    const { client } = await start({ compression: { encodings: ['br'] } });

    expect((await client('/returned', 'gzip, br')).coding).toBe('br');
  });

  it.each(['text/event-stream', 'application/x-ndjson', 'application/json-seq', 'application/json'])(
    'can be decompressed up to each event as soon as it is published, and has a clean end, as %s',
    async (type) => {
      const { client, hub } = await start();
      const response = await client('/returned', 'gzip', type);

      for (const n of range(1, 5)) {
        await hub.publish(`event ${n}`);
        await response.until(`event ${n}`);
      }
      await hub.close();
      const text = await response.over();

      expect(response.coding).toBe('gzip');
      expect(response.ended).toBe(true);
      const whole = gunzipSync(Buffer.concat(response.bytes));
      expect(whole.toString()).toBe(text);
      expect(Buffer.concat(response.bytes).toString('hex')).toMatch(new RegExp(`^${HEADER}`));
    },
  );

  it('has the same bytes for all clients, whenever they connected', async () => {
    const { client, hub } = await start();
    const clients = [await client('/returned')];
    const all = range(1, 12);
    for (const n of all) {
      await hub.publish(n);
      await Promise.all(clients.map((each) => each.until(`data: ${n}\n\n`)));
      clients.push(await client('/returned'));
    }
    await hub.close();

    const texts = await Promise.all(clients.map((each) => each.over()));

    expect(texts.map((text) => dataOf(text))).toEqual(clients.map((_, i) => all.slice(i).map(String)));
    for (const { bytes, ended } of clients) {
      expect(ended).toBe(true);
      expect(gunzipSync(Buffer.concat(bytes)).length).toBeGreaterThan(0);
    }
  });

  it('has the same events for clients of every encoding, while clients connect and disconnect under load', async () => {
    const { hub, url } = await start();
    const loop = new PublishLoop(hub, 3);
    const clients: DecodingClient[] = [];
    for (const accept of ['gzip', 'identity', ...CODINGS, 'gzip', 'br', 'gzip']) {
      const headers = { Accept: 'text/event-stream', 'Accept-Encoding': accept };
      const client = await DecodingClient.get(url('/returned'), headers);
      await client.until('data: ');
      clients.push(client);
    }
    clients[0]?.leave();
    await clients[1]?.until(`data: ${loop.ids.length + 50}\n\n`);
    const last = await loop.stop();
    await hub.close();

    const texts = await Promise.all(clients.slice(1).map((each) => each.over()));

    for (const data of texts.map((text) => dataOf(text).map(Number))) {
      expect(data).toEqual(range(data[0] ?? NaN, last));
    }
    expect(clients.slice(1).map(({ ended }) => ended)).toEqual(texts.map(() => true));
  });

  it('resumes after the id of the client, also in a history of many pages', async () => {
    const { client, hub } = await start();
    const ids = await publishAll(
      hub,
      range(1, 900).map((n) => `${n} ${'x'.repeat(1_000)}`),
    );

    const response = await client('/returned', 'gzip', 'text/event-stream', ids[9]);
    await hub.publish('live');
    await response.until('data: live\n\n');
    await hub.close();
    const data = dataOf(await response.over());

    expect(data.slice(0, -1).map((each) => Number.parseInt(each ?? '', 10))).toEqual(range(11, 900));
    expect(gunzipSync(Buffer.concat(response.bytes)).length).toBeGreaterThan(500_000);
  });

  it('contains events of any size', async () => {
    const { client, hub } = await start();
    const clients = [await client('/returned'), await client('/returned', 'br'), await client('/returned', 'identity')];
    const sizes = [1, 65_535, 65_536, 131_072, 200_000, 1_000_000];

    for (const size of sizes) {
      await publishAll(hub, ['y'.repeat(size), `behind ${size}`]);
      await Promise.all(clients.map((each) => each.until(`data: behind ${size}\n\n`)));
    }
    await hub.close();

    for (const each of clients) {
      const lengths = dataOf(await each.over()).filter((data) => data?.startsWith('y'));
      expect(lengths.map((data) => data?.length)).toEqual(sizes);
      expect(each.ended).toBe(true);
    }
  });

  it('contains heartbeats between events', async () => {
    const { client, hub } = await start();
    const response = await client('/beats');

    await response.until(':\n:\n');
    await hub.publish('after');
    await response.until('data: after\n\n');
    await hub.close();

    expect(dataOf(await response.over())).toEqual(['after']);
    expect(response.ended).toBe(true);
  });

  it('contains positions for clients that receive no events', async () => {
    const { client, hub } = await start();
    const response = await client('/topics?topic=mine');

    const id = await hub.publish('other', { topic: 'other' });
    await response.until(`id: ${id}\ndata: {}\n\n`);
    await hub.publish('mine', { topic: 'mine' });
    await response.until('data: mine\n\n');
    await hub.close();

    expect(dataOf(await response.over())).toEqual(['mine']);
  });

  it.each(['even', 'each', 'sent-before', 'flushed-before', 'iterated'])(
    'is correct if clients receive different events: %s',
    async (path) => {
      const { client, hub } = await start();
      const response = await client(`/${path}`);

      await publishAll(hub, range(1, 4));
      await response.until('data: 4\n\n');
      await hub.publish(6);
      await response.until('data: 6\n\n');
      await hub.close();

      const before = path.endsWith('before') ? ['before'] : [];
      const events = path === 'even' ? ['2', '4', '6'] : ['1', '2', '3', '4', '6'];
      expect(dataOf(await response.over())).toEqual([...before, ...events]);
      expect([response.coding, response.ended]).toEqual(['gzip', true]);
    },
  );

  it('contains the chunks that a handler sends itself in their place', async () => {
    const { app, client, hub } = await start();
    const response = await client('/with-sends');
    const [stream] = app.get(Feed).streams;

    await hub.publish('first');
    await response.until('data: first\n\n');
    await stream?.send(event({ data: 'own' }));
    await response.until('data: own\n\n');
    await hub.publish('last');
    await response.until('data: last\n\n');
    await hub.close();

    expect(dataOf(await response.over())).toEqual(['first', 'own', 'last']);
    expect(response.ended).toBe(true);
  });

  it('is cut off after the chunks that were sent if it fails', async () => {
    const { app, client, hub } = await start();
    const response = await client('/with-sends');
    const [stream] = app.get(Feed).streams;
    await hub.publish('first');
    await response.until('data: first\n\n');

    await stream?.send({ data: 1n }).catch(() => undefined);
    const text = await response.over();

    expect(text).toContain('event: error\ndata: {"statusCode":500,"message":"Internal server error"}\n\n');
    expect(response.ended).toBe(false);
    expect(response.error).toBeDefined();
  });

  it('is complete when the application closes', async () => {
    const { client, close, hub } = await start();
    const response = await client('/returned');
    await hub.publish('last');

    await close();

    expect(dataOf(await response.over())).toEqual(['last']);
    expect(response.ended).toBe(true);
  });

  it('is cut off for a client that does not read, and continues for the others', async () => {
    const imports = [StreamingModule.registerHub({ name: 'feed' })];
    @Controller()
    class Bounded {
      constructor(@InjectHub('feed') readonly hub: Hub) {}
      @Stream('bounded')
      bounded() {
        return this.hub.subscribe({ queue: { items: 10 } });
      }
    }
    const { logs, registry, url, ...app } = await launch(platform, { controllers: [Bounded], imports, options: ALL });
    const hub = hubOf(app);
    const headers = { Accept: 'application/x-ndjson', 'Accept-Encoding': 'gzip' };
    const slow = await DecodingClient.get(url('/bounded'), headers);
    slow.response.pause();
    const other = await DecodingClient.get(url('/bounded'), headers);
    await joined(hub, 2);

    // Text that does not compress fills the sockets. Other clients continue to read.
    for (let i = 0; registry.size === 2; i++) {
      await hub.publish({ i, noise: NOISE });
      await other.until(`"i":${i},`);
      // It would take long to search megabytes repeatedly.
      other.text = '';
    }

    expect(registry.size).toBe(1);
    expect(logs.of('warn').join()).toContain('slow');
    await hub.close();
    await other.over();
    expect(other.ended).toBe(true);
    slow.response.resume();
    await slow.over();
    expect(slow.ended).toBe(false);
  }, 60_000);

  it('continues for a client that pauses and reads again', async () => {
    const { client, hub, registry } = await start();
    const response = await client('/returned');
    response.response.pause();
    const [stream] = registry;
    let published = 0;
    // After so much data, the next events wait in the hub.
    while ((stream?.bufferedAmount ?? 0) < 16_384) {
      await hub.publish(`${++published} ${NOISE}`);
      await turns(1);
    }
    for (const _ of range(1, 10)) {
      await hub.publish(`${++published} short`);
    }

    response.response.resume();
    await hub.publish('last');
    const closing = hub.close();
    const data = dataOf(await response.over());
    await closing;

    expect(data.slice(0, -1).map((each) => Number.parseInt(each ?? '', 10))).toEqual(range(1, published));
    expect(response.ended).toBe(true);
  }, 60_000);

  itWith('curl')('is read by curl --compressed up to a clean end', async () => {
    const { hub, url } = await start();
    const child = spawn('curl', [
      ...['-sS', '-N', '--noproxy', '*', '--compressed', '-H', 'Accept: text/event-stream'],
      url('/returned'),
    ]);
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    const exit = once(child, 'close');
    await joined(hub, 1);

    for (const n of range(1, 5)) {
      await publishAll(hub, [`${n}a`, `${n}b`]);
      while (!output.includes(`data: ${n}b\n\n`)) {
        await once(child.stdout, 'data');
      }
    }
    await hub.close();

    expect((await exit)[0]).toBe(0);
    expect(dataOf(output)).toEqual(range(1, 5).flatMap((n) => [`${n}a`, `${n}b`]));
  });
});
