import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  type NestInterceptor,
  Query,
  RequestMethod,
  type Type,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { map, NEVER } from 'rxjs';
import {
  ConnectedStream,
  Hub,
  type HubEvent,
  type HubOptions,
  type HubSubscription,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
  type StreamHooks,
  StreamingModule,
  type SubscribeOptions,
} from '../../lib/index.js';
import { EVENT_COST } from '../../lib/util/queue-limits.js';
import { SharedStore, SharedStoreBroker } from '../contract/shared-store.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { dataOf, eventsOf, hubOf, joined, NDJSON, publishAll, range, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, turns, useApps } from '../support/running.js';
import { itWith } from '../support/tools.js';

const launch = useApps();

/** Longer than any test, so the wait never ends by itself. */
const LONG = 'wait=50';

interface Poll {
  readonly status: number;
  readonly body: string;
  readonly id: string;
  readonly headers: Headers;
}

interface PollingApp extends RunningApp {
  readonly hub: Hub;
  /** Sends a poll, and resolves to the whole response. */
  poll(headers?: Record<string, string>, path?: string): Promise<Poll>;
}

/** An application with the hub `feed`. */
async function start(
  platform: Platform,
  controllers: Type[],
  { hub = {}, ...setup }: Omit<AppSetup, 'controllers'> & { hub?: Partial<HubOptions> } = {},
): Promise<PollingApp> {
  const imports = [StreamingModule.registerHub({ name: 'feed', ...hub })];
  const app = await launch(platform, { ...setup, controllers, imports });
  return {
    ...app,
    hub: hubOf(app),
    poll: async (headers = {}, path = '/feed') => {
      const response = await fetch(app.url(path), { headers: { ...SSE, Prefer: LONG, ...headers } });
      const id = response.headers.get('last-event-id') ?? '';
      return { status: response.status, body: await response.text(), id, headers: response.headers };
    },
  };
}

/** A controller whose only route, `GET /feed`, returns a subscription. */
function feedOf(options: SubscribeOptions = {}, beside: (stream: StreamConnection) => unknown = () => undefined): Type {
  @Controller()
  class Feed {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Stream('feed')
    feed(
      @ConnectedStream() stream: StreamConnection,
      @LastEventId() after?: string,
    ): HubSubscription | Promise<HubSubscription> {
      const subscription = this.hub.subscribe({ after, ...options });
      const wait = beside(stream);
      return wait instanceof Promise ? wait.then(() => subscription) : subscription;
    }
  }
  return Feed;
}

/** The fields of a head, names in lower case. */
function headerOf(client: RawClient, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)\\r$`, 'im').exec(client.head)?.[1];
}

/** Waits for a response of known length. */
async function whole(client: RawClient): Promise<string> {
  await client.until('\r\n\r\n');
  const length = Number(headerOf(client, 'content-length') ?? 0);
  const start = client.head.length;
  await client.until(new RegExp(`^[^]{${start + length}}`));
  return client.received.slice(start);
}

describe.each(PLATFORMS)('%s: a client that polls', (platform) => {
  it.each([
    ['text/event-stream', 'id: B\ndata: b\n\nevent: tick\nid: C\ndata: {"ü":1}\n\n'],
    ['application/x-ndjson', '"b"\n{"ü":1}\n'],
    ['application/json-seq', '\x1e"b"\n\x1e{"ü":1}\n'],
    ['application/json', '["b",{"ü":1}]'],
    ['text/plain', 'b{"ü":1}\n'],
    ['application/octet-stream', 'b{"ü":1}\n'],
  ])('receives the events after its id as one complete body of %s', async (accept, expected) => {
    const { get, hub } = await start(platform, [feedOf()]);
    const first = await hub.publish('a');
    const [b = '', c = ''] = [await hub.publish('b'), await hub.publish({ ü: 1 }, { type: 'tick' })];

    const client = await get('/feed', { Accept: accept, Prefer: LONG, 'Last-Event-ID': first });
    const body = await whole(client);

    const bytes = expected.replace('B', b).replace('C', c);
    expect(Buffer.from(body, 'latin1').toString()).toBe(bytes);
    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(headerOf(client, 'content-type')?.split(';')[0]).toBe(accept);
    expect(headerOf(client, 'content-length')).toBe(String(Buffer.byteLength(bytes)));
    expect(headerOf(client, 'last-event-id')).toBe(c);
    expect(headerOf(client, 'preference-applied')).toBe('wait=50');
    expect(headerOf(client, 'vary')).toBe('Accept, Prefer');
    expect(headerOf(client, 'cache-control')).toBe('no-store');
    expect(headerOf(client, 'transfer-encoding')).toBeUndefined();
    expect(hub.size()).toBe(0);
  });

  it('receives the events of one turn in one response', async () => {
    const { get, hub } = await start(platform, [feedOf()], { options: { openDelay: 0, heartbeat: 20 } });
    const client = await get('/feed', { ...SSE, Prefer: LONG });
    await joined(hub, 1);
    // Longer than openDelay and several heartbeats.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(client.received).toBe('');

    const ids = await publishAll(hub, ['a', 'b', 'c']);

    expect(await whole(client)).toBe(ids.map((id, i) => `id: ${id}\ndata: ${'abc'[i]}\n\n`).join(''));
    expect(headerOf(client, 'last-event-id')).toBe(ids[2]);
  });

  it('receives one complete response after another on one connection, also if it pipelines requests', async () => {
    const { connect, hub } = await start(platform, [feedOf()]);
    const first = await hub.publish('a');
    await hub.publish('b');
    const client = await connect();
    const request = `GET /feed HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\nPrefer: ${LONG}\r\n`;

    client.send(`${request}\r\n${request}Last-Event-ID: ${first}\r\n\r\n`);
    await joined(hub, 2);
    await joined(hub, 1);
    await hub.publish('c');

    const received = await client.until(/\r\n\r\n\["c"\].*\r\n\r\n\[.*\]$/s);
    expect(
      received
        .split('\r\n\r\n')
        .slice(1)
        .map((part) => part.split('HTTP/1.1')[0]),
    ).toEqual(['["c"]', '["b"]']);
  });

  it('receives its position with 204 if there is no event, and misses no event from then on', async () => {
    const { poll, hub } = await start(platform, [feedOf()]);
    await hub.publish('before');

    const nothing = await poll({ Prefer: 'wait=1' });
    await hub.publish('between');
    const next = await poll({ 'Last-Event-ID': nothing.id });

    expect(nothing).toMatchObject({ status: 204, body: '' });
    expect(Object.fromEntries(nothing.headers)).toMatchObject({
      'preference-applied': 'wait=1',
      vary: 'Accept, Prefer',
      'cache-control': 'no-store',
    });
    expect(nothing.headers.get('content-type')).toBeNull();
    expect(dataOf(next.body)).toEqual(['between']);
  });

  it('receives its response at once with wait=0', async () => {
    const { poll, hub } = await start(platform, [feedOf()]);

    const first = await poll({ Prefer: 'wait=0' });
    await publishAll(hub, range(1, 100));
    const second = await poll({ Prefer: 'wait=0', 'Last-Event-ID': first.id });
    const third = await poll({ Prefer: 'wait=0', 'Last-Event-ID': second.id });

    expect([first.status, second.status, third.status]).toEqual([204, 200, 204]);
    expect(dataOf(second.body)).toEqual(range(1, 100).map(String));
    expect(third.id).toBe(second.id);
  });

  it('without an id receives the newest events if the route subscribes with last', async () => {
    const { poll, hub } = await start(platform, [feedOf({ last: 2 })]);
    await publishAll(hub, [1, 2, 3]);

    const { body, id } = await poll();

    expect(dataOf(body)).toEqual(['2', '3']);
    expect((await poll({ Prefer: 'wait=0', 'Last-Event-ID': id })).status).toBe(204);
  });

  it.each<[string, SubscribeOptions]>([
    ['of a topic', { topic: 'mine' }],
    ['with a filter', { filter: ({ topic }) => topic === 'mine' }],
  ])('%s receives a newer position even if it receives no events', async (_, options) => {
    const { poll, hub } = await start(platform, [feedOf(options)], { hub: { history: { limit: 4 } } });
    const first = await poll({ Prefer: 'wait=0' });

    await publishAll(hub, range(1, 4), { topic: 'other' });
    const moved = await poll({ Prefer: 'wait=0', 'Last-Event-ID': first.id });
    await publishAll(hub, range(5, 7), { topic: 'other' });
    await hub.publish('mine', { topic: 'mine' });
    const next = await poll({ 'Last-Event-ID': moved.id });

    expect(moved.status).toBe(204);
    expect(moved.id).not.toBe(first.id);
    expect(eventsOf(next.body)).toMatchObject([{ data: 'mine' }]);
  });

  it('receives a newer position also if events for others were published during its wait', async () => {
    const { poll, get, hub } = await start(platform, [feedOf({ topic: 'mine' })], { hub: { history: { limit: 4 } } });
    const client = await get('/feed', { ...SSE, Prefer: 'wait=1' });
    await joined(hub, 1);
    await publishAll(hub, range(1, 10), { topic: 'other' });

    await whole(client);
    await hub.publish('mine', { topic: 'mine' });

    const next = await poll({ 'Last-Event-ID': headerOf(client, 'last-event-id') ?? '' });
    expect(client.head).toMatch(/^HTTP\/1\.1 204 /);
    expect(eventsOf(next.body)).toMatchObject([{ data: 'mine' }]);
  });

  it('receives a reset at once, and then the history', async () => {
    const { poll, hub } = await start(platform, [feedOf()], { hub: { history: { limit: 2 } } });
    const first = await hub.publish(0);
    const [, , oldest, last] = await publishAll(hub, [1, 2, 3, 4]);

    const sse = await poll({ 'Last-Event-ID': first });
    const ndjson = await poll({ ...NDJSON, 'Last-Event-ID': first });
    const nothing = await poll({ 'Last-Event-ID': 'nonsense', Prefer: 'wait=0' });

    expect(eventsOf(sse.body).map(({ event, data }) => event ?? data)).toEqual(['reset', '3', '4']);
    expect(ndjson.body).toBe(`{"reset":{"reason":"evicted","oldest":"${oldest}"}}\n3\n4\n`);
    expect(eventsOf(nothing.body)[0]?.data).toContain('malformed');
    expect([sse.id, ndjson.id, nothing.id]).toEqual([last, last, last]);
  });

  it('receives a newer position after a reset that its format cannot express', async () => {
    const { poll, hub } = await start(platform, [feedOf()]);
    const first = await poll({ Accept: 'text/plain', 'Last-Event-ID': 'nonsense' });
    await hub.publish('a');

    expect(first).toMatchObject({ status: 204, body: '' });
    expect((await poll({ Accept: 'text/plain', 'Last-Event-ID': first.id })).body).toBe('a');
  });

  it.each<[string, SubscribeOptions['queue'], string[][]]>([
    ['items', { items: 2 }, [['1', '2'], ['3', '4'], ['5']]],
    ['bytes', { bytes: 2 * (1 + EVENT_COST) }, [['1', '2'], ['3', '4'], ['5']]],
    ['less than an event', { bytes: 0.5 }, [['1'], ['2'], ['3'], ['4'], ['5']]],
  ])(
    'receives no more in one response than its queue may hold, and the rest in the next (%s)',
    async (_, queue, expected) => {
      const { poll, hub, logs } = await start(platform, [feedOf({ queue })]);
      let { id } = await poll({ Prefer: 'wait=0' });
      await publishAll(hub, range(1, 5));

      for (const part of expected) {
        const { body, ...next } = await poll({ 'Last-Event-ID': id });
        expect(dataOf(body)).toEqual(part);
        ({ id } = next);
      }

      expect((await poll({ Prefer: 'wait=0', 'Last-Event-ID': id })).status).toBe(204);
      expect(logs.of('warn')).toEqual([]);
    },
  );

  it('is not disconnected if more events than its queue holds are published in one turn', async () => {
    const { poll, get, hub, logs } = await start(platform, [feedOf({ queue: { items: 3 } })]);
    const client = await get('/feed', { ...SSE, Prefer: LONG });
    await joined(hub, 1);

    await publishAll(hub, range(1, 20));

    expect(dataOf(await whole(client))).toEqual(['1', '2', '3']);
    const next = await poll({ 'Last-Event-ID': headerOf(client, 'last-event-id') ?? '' });
    expect(dataOf(next.body)).toEqual(['4', '5', '6']);
    expect(logs.of('warn')).toEqual([]);
  });

  it('receives a large response completely', async () => {
    const { poll, hub } = await start(platform, [feedOf()]);
    const { id } = await poll({ Prefer: 'wait=0' });
    const values = range(1, 30).map((n) => `${n}:${'ü'.repeat(15_000)}`);
    await publishAll(hub, values);

    const { body, headers } = await poll({ 'Last-Event-ID': id });

    expect(dataOf(body)).toEqual(values);
    expect(headers.get('content-length')).toBe(String(Buffer.byteLength(body)));
  });

  it('receives a reset while it waits', async () => {
    const store = new SharedStore();
    const { get, poll, hub } = await start(platform, [feedOf()], { hub: { broker: new SharedStoreBroker(store) } });
    const before = await hub.publish('before');
    const client = await get('/feed', { ...NDJSON, Prefer: LONG, 'Last-Event-ID': before });
    await joined(hub, 1);

    store.lose('feed');
    const id = await hub.publish('a');

    expect(await whole(client)).toBe(`{"reset":{"reason":"epoch","oldest":"${id}"}}\n"a"\n`);
    expect(headerOf(client, 'last-event-id')).toBe(id);
    expect(await poll({ Prefer: 'wait=0', 'Last-Event-ID': id })).toMatchObject({ status: 204, id });
  });

  it('receives the events of a round during which its wait ends', async () => {
    const { get, hub, registry } = await start(platform, [feedOf()]);
    // So many that a round takes several turns to reach the poll.
    const others = range(1, 600).map(() => hub.subscribe()[Symbol.asyncIterator]());
    const [first] = others.map((other) => other.next());
    const client = await get('/feed', { ...NDJSON, Prefer: LONG });
    await joined(hub, 601);

    const id = hub.publish('a');
    await first;
    await registry.close();

    expect(await whole(client)).toBe('"a"\n');
    expect(headerOf(client, 'last-event-id')).toBe(await id);
    await Promise.all(others.map((other) => other.return?.()));
  });

  it('may send other preferences too, in several headers', async () => {
    const { get, hub } = await start(platform, [feedOf()]);
    const client = await get('/feed', { ...SSE, Prefer: 'respond-async; a="b, wait=1"', prefer: 'WAIT = 7, wait=8' });
    await joined(hub, 1);
    await hub.publish('a');

    await whole(client);

    expect(headerOf(client, 'preference-applied')).toBe('wait=7');
  });

  it('receives the actual wait in a header if it requests more than the maximum', async () => {
    const { get, hub } = await start(platform, [feedOf()]);
    const client = await get('/feed', { ...SSE, Prefer: 'wait=99999999999999999999' });
    await joined(hub, 1);
    await hub.publish('a');

    await whole(client);

    expect(headerOf(client, 'preference-applied')).toBe('wait=55');
  });

  it('waits no longer than maxDuration', async () => {
    const closed = new Recorder();
    const hooks = { onClose: (_: unknown, { code }: { code: string }) => closed.add(code) };
    const { poll } = await start(platform, [feedOf()], { options: { maxDuration: 60, hooks } });

    const { status, id, headers } = await poll();

    expect(status).toBe(204);
    expect(id).not.toBe('');
    expect(headers.get('preference-applied')).toBe('wait=1');
    expect(await closed.count(1)).toEqual(['deadline']);
  });

  it('may use any method', async () => {
    @Controller()
    class Posted {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('feed', { method: RequestMethod.POST })
      feed() {
        return this.hub.subscribe({ last: 1 });
      }
    }
    const { url, hub } = await start(platform, [Posted]);
    await hub.publish('a');

    const response = await fetch(url('/feed'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', Prefer: LONG },
      body: '{"a":1}',
    });

    expect(await response.text()).toBe('["a"]');
  });

  it('receives a response through interceptors', async () => {
    class Nothing implements NestInterceptor {
      intercept(_: ExecutionContext, next: CallHandler) {
        return next.handle().pipe(map((value: unknown) => value));
      }
    }
    const Feed = feedOf();
    UseInterceptors(Nothing)(Feed);
    const { poll, hub } = await start(platform, [Feed]);
    const first = await hub.publish('a');
    await hub.publish('b');

    const { body, headers } = await poll({ 'Last-Event-ID': first });

    expect(dataOf(body)).toEqual(['b']);
    expect(headers.get('preference-applied')).toBe('wait=50');
  });

  it('receives a response after a slow onSend hook of Fastify', async () => {
    const configure: AppSetup['configure'] = (app) => {
      if (platform === 'fastify') {
        (app as NestFastifyApplication)
          .getHttpAdapter()
          .getInstance()
          .addHook('onSend', async (_request, reply, payload) => {
            await turns(2);
            void reply.header('X-Late', 'yes');
            return payload;
          });
      }
    };
    const { poll, hub } = await start(platform, [feedOf()], { configure });
    const first = await hub.publish('a');
    const values = ['b', 'c'.repeat(100_000)];
    await publishAll(hub, values);

    const { body, id, headers } = await poll({ 'Last-Event-ID': first });
    const nothing = await poll({ 'Last-Event-ID': id, Prefer: 'wait=0' });

    expect(dataOf(body)).toEqual(values);
    expect(headers.get('x-late')).toBe(platform === 'fastify' ? 'yes' : null);
    expect(headers.get('content-length')).toBe(String(body.length));
    expect(nothing.status).toBe(204);
  });

  itWith('curl')('receives a response if it is curl', async () => {
    const { url, hub } = await start(platform, [feedOf()]);
    const first = await hub.publish('a');
    await hub.publish('b');

    const { stdout: out } = await promisify(execFile)('curl', [
      '-si',
      url('/feed'),
      '-H',
      'Prefer: wait=5',
      '-H',
      `Last-Event-ID: ${first}`,
    ]);

    expect(out).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(out).toMatch(/^Last-Event-ID: \S+\r$/im);
    expect(out).toMatch(/\r\n\r\nb$/);
  });
});

describe.each(PLATFORMS)('%s: during a poll', (platform) => {
  it('hooks run as for a stream', async () => {
    const calls: string[] = [];
    const hooks: StreamHooks = {
      onOpen: async (stream) => {
        calls.push(`onOpen ${stream.state}`);
        await stream.send('hello');
        await turns(2);
      },
      beforeChunk: async (chunk) => {
        calls.push('beforeChunk');
        await turns(1);
        const { data = chunk } = chunk as Partial<HubEvent>;
        return data === 'b' ? undefined : [data, `${String(data)}!`];
      },
      beforeClose: (stream) => {
        calls.push('beforeClose');
        void stream.send('bye');
      },
      onClose: (_, { code }) => calls.push(`onClose ${code}`),
    };
    const { poll, hub } = await start(platform, [feedOf()], { options: { hooks } });
    const first = await hub.publish('a');
    const ids = await publishAll(hub, ['b', 'c', 'd']);

    const { body, id } = await poll({ ...NDJSON, 'Last-Event-ID': first });

    expect(body).toBe('"hello"\n"hello!"\n"c"\n"c!"\n"d"\n"d!"\n"bye"\n"bye!"\n');
    expect(id).toBe(ids[2]);
    expect(calls[0]).toBe('onOpen open');
    expect(calls.filter((call) => call === 'beforeClose')).toEqual(['beforeClose']);
    expect(calls.at(-1)).toBe('onClose completed');
  });

  it('the chunk of a slow onOpen hook is sent before a reset', async () => {
    const hooks: StreamHooks = {
      onOpen: async (stream) => {
        await turns(2);
        await stream.send('hello');
      },
    };
    const { poll, hub } = await start(platform, [feedOf()], { options: { hooks } });
    await hub.publish('a');

    const { body } = await poll({ ...NDJSON, 'Last-Event-ID': 'nonsense' });

    expect(body).toMatch(/^"hello"\n\{"reset":.*\}\n"a"\n$/);
  });

  it('hooks that drop every chunk cause a 204 with a newer position', async () => {
    const { poll, hub } = await start(platform, [feedOf()], { options: { hooks: { beforeChunk: () => undefined } } });
    const first = await hub.publish('a');
    const last = await hub.publish('b');

    const { status, id } = await poll({ 'Last-Event-ID': first });

    expect({ status, id }).toEqual({ status: 204, id: last });
  });

  it('the error of a hook, also of a slow one, goes to the exception filters', async () => {
    const hooks: StreamHooks = {
      beforeChunk: (chunk) => {
        if ((chunk as HubEvent).data === 'c') {
          throw new ForbiddenException('no c');
        }
        return chunk;
      },
    };
    const { poll, hub } = await start(platform, [feedOf()], { options: { hooks } });
    const first = await hub.publish('a');
    await publishAll(hub, ['b', 'c']);

    const { status, body, headers } = await poll({ 'Last-Event-ID': first });

    expect(status).toBe(403);
    expect(JSON.parse(body)).toMatchObject({ message: 'no c' });
    expect(headers.get('last-event-id')).toBeNull();
    expect(hub.size()).toBe(0);
  });

  it('the error of a filter goes to the exception filters', async () => {
    const filter = (): never => {
      throw new ForbiddenException('no');
    };
    const { poll, get, hub } = await start(platform, [feedOf({ filter })]);
    const first = await hub.publish('a');
    const waiting = await get('/feed', { ...SSE, Prefer: LONG });
    await joined(hub, 1);
    await hub.publish('b');

    expect((await poll({ 'Last-Event-ID': first })).status).toBe(403);
    await waiting.until('HTTP/1.1 403');
    expect(hub.size()).toBe(0);
  });

  it('guards and limits apply', async () => {
    const Guarded = feedOf();
    UseGuards({ canActivate: (context: ExecutionContext) => !context.switchToHttp().getRequest().headers['x-no'] })(
      Guarded,
    );
    const { poll, get, hub } = await start(platform, [Guarded], { options: { limits: { perClient: 1 } } });

    expect((await poll({ 'X-No': '1' })).status).toBe(403);
    const waiting = await get('/feed', { ...SSE, Prefer: LONG });
    await joined(hub, 1);
    const refused = await poll();
    await hub.publish('a');
    await whole(waiting);

    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect((await poll({ Prefer: 'wait=0' })).status).toBe(204);
  });

  it('the client may disconnect, and the subscription is closed in the same turn', async () => {
    const closed = deferred<string>();
    let sizeAtClose = -1;
    const hooks: StreamHooks = {
      onClose: (_, { code }) => {
        sizeAtClose = app.hub.size();
        closed.resolve(code);
      },
    };
    const app = await start(platform, [feedOf()], { options: { hooks } });
    const client = await app.get('/feed', { ...SSE, Prefer: LONG });
    await joined(app.hub, 1);

    client.disconnect();

    expect(await closed.promise).toBe('client-closed');
    expect(sizeAtClose).toBe(0);
    expect(app.registry.size).toBe(0);
  });

  it('the application may close, and the client receives the id to resume from', async () => {
    const closed = new Recorder();
    const hooks: StreamHooks = { onClose: (_, { code }) => closed.add(code) };
    const app = await start(platform, [feedOf()], { options: { hooks, shutdown: { grace: 60_000 } } });
    const id = await app.hub.publish('a');
    const client = await app.get('/feed', { ...SSE, Prefer: LONG, Connection: 'close' });
    await joined(app.hub, 1);

    await app.close();

    await client.closed();
    expect(client.head).toMatch(/^HTTP\/1\.1 204 /);
    expect(headerOf(client, 'last-event-id')).toBe(id);
    expect(closed.seen).toEqual(['shutdown']);
  });

  it.each<[string, (app: PollingApp, stream: StreamConnection | undefined) => unknown]>([
    ['the registry', ({ registry }) => registry.close()],
    ['the hub', ({ hub }) => hub.close()],
    ['the handler', (_, stream) => stream?.close()],
  ])('%s may end the wait, and the client receives the id to resume from', async (_, end) => {
    let stream: StreamConnection | undefined;
    const Feed = feedOf({}, (each) => {
      stream = each;
    });
    const app = await start(platform, [Feed]);
    const id = await app.hub.publish('a');
    const client = await app.get('/feed', { ...SSE, Prefer: LONG });
    await joined(app.hub, 1);

    await end(app, stream);
    await whole(client);

    expect(client.head).toMatch(/^HTTP\/1\.1 204 /);
    expect(headerOf(client, 'last-event-id')).toBe(id);
    expect(app.hub.size()).toBe(0);
  });

  it('a close while a hook delays an event loses no event', async () => {
    const held = deferred();
    const reached = deferred();
    const hooks: StreamHooks = {
      beforeChunk: async (chunk) => {
        if ((chunk as HubEvent).data === 'b') {
          reached.resolve();
          await held.promise;
        }
        return chunk;
      },
    };
    const { poll, hub, registry } = await start(platform, [feedOf()], { options: { hooks } });
    const { id } = await poll({ Prefer: 'wait=0' });
    await publishAll(hub, ['a', 'b', 'c']);

    const polled = poll({ 'Last-Event-ID': id });
    await reached.promise;
    await registry.close();
    held.resolve();
    const first = await polled;
    expect(dataOf(first.body)).toEqual(['a']);
    const second = await poll({ 'Last-Event-ID': first.id });

    expect([...dataOf(first.body), ...dataOf(second.body)]).toEqual(['a', 'b', 'c']);
  });

  it('chunks that the handler sends itself come first, and do not end the wait', async () => {
    let stream: StreamConnection | undefined;
    const Feed = feedOf({}, async (each) => {
      stream = each;
      await each.status(203).send('welcome');
    });
    const { get, hub } = await start(platform, [Feed]);
    const client = await get('/feed', { ...NDJSON, Prefer: LONG });
    await joined(hub, 1);
    await stream?.send('beside');
    await turns(20);
    expect(client.received).toBe('');

    await hub.publish('a');

    expect(await whole(client)).toBe('"welcome"\n"beside"\n"a"\n');
    expect(client.head).toMatch(/^HTTP\/1\.1 203 /);
  });

  it('chunks that the handler sends itself end the wait if they are large', async () => {
    const Feed = feedOf({}, (stream) => void stream.send('x'.repeat(60_000)));
    let stream: StreamConnection | undefined;
    const { get, hub } = await start(platform, [Feed], {
      options: {
        hooks: {
          onOpen: (each) => {
            stream = each;
          },
        },
      },
    });
    const client = await get('/feed', { Accept: 'text/plain', Prefer: LONG });
    await joined(hub, 1);

    await stream?.send('x'.repeat(10_000));

    expect(await whole(client)).toBe('x'.repeat(70_000));
  });
});

describe.each(PLATFORMS)('%s: the preference to wait is ignored', (platform) => {
  const first = deferred<StreamConnection>();

  @Controller()
  class Others {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Stream('generator')
    async *generator() {
      yield 'a';
      await turns(3);
      yield 'b';
    }

    @Stream('iterated')
    async *iterated(@LastEventId() after?: string) {
      for await (const { data } of this.hub.subscribe({ after })) {
        yield data;
        return;
      }
    }

    @Stream('pushed')
    pushed(@ConnectedStream() stream: StreamConnection) {
      void stream.send('a');
      setImmediate(() => void stream.send('b').then(() => stream.close()));
    }

    @Stream('pushed-and-closed')
    pushedAndClosed(@ConnectedStream() stream: StreamConnection) {
      void stream.send('ab');
      void stream.close();
    }

    /** Awaits send() before it continues. */
    @Stream('conversation')
    async conversation(@ConnectedStream() stream: StreamConnection, @Query('later') later?: string) {
      if (later) {
        await turns(3);
      }
      await stream.send('a');
      first.resolve(stream);
      await said.promise;
      await stream.send('b');
      await stream.close();
    }

    @Stream('late')
    async late(@ConnectedStream() stream: StreamConnection) {
      await stream.send('a');
      await turns(10);
      return this.hub.subscribe({ last: 1 });
    }

    @Stream('opened', { format: 'ndjson' })
    async opened(@ConnectedStream() stream: StreamConnection) {
      stream.open();
      await said.promise;
      await stream.send('ab');
      await stream.close();
    }

    @Stream('silent', { format: 'ndjson', openDelay: 0 })
    silent(@ConnectedStream() stream: StreamConnection) {
      void said.promise.then(() => stream.send('ab').then(() => stream.close()));
    }
  }
  let said = deferred();
  beforeEach(() => {
    said = deferred();
  });

  it.each([
    ['a generator', '/generator', 'ab'],
    ['a subscription that is iterated', '/iterated', 'ab'],
    ['a handler that pushes', '/pushed', 'ab'],
    ['a handler that pushes and closes', '/pushed-and-closed', 'ab'],
  ])('for %s', async (_, path, expected) => {
    const { hub, poll } = await start(platform, [Others]);
    const id = await hub.publish('before');
    await hub.publish('ab');

    const { status, body, headers } = await poll({ Accept: 'text/plain', 'Last-Event-ID': id }, path);

    expect({ status, body }).toEqual({ status: 200, body: expected });
    expect(headers.get('preference-applied')).toBeNull();
    expect(headers.get('cache-control')).toBe('no-cache, no-transform');
  });

  it.each(['/conversation', '/conversation?later=1'])('for a handler that awaits send(): %s', async (path) => {
    const { get } = await start(platform, [Others]);
    const client = await get(path, { Accept: 'text/plain', Prefer: LONG });

    await client.until(/\r\n\r\n1\r\na\r\n$/);
    said.resolve();

    await client.until('b\r\n0\r\n\r\n');
    expect(headerOf(client, 'preference-applied')).toBeUndefined();
  });

  it.each(['/opened', '/silent'])('for a stream that is opened without a chunk: %s', async (path) => {
    const { get } = await start(platform, [Others]);
    const client = await get(path, { Prefer: LONG });

    await client.until(/\r\n\r\n$/);
    said.resolve();

    await client.until('\r\n0\r\n\r\n');
    expect(client.body).toBe('"ab"\n');
  });

  it('for an Observable behind interceptors, which opens, and receives heartbeats in silence', async () => {
    class Nothing implements NestInterceptor {
      intercept(_: ExecutionContext, next: CallHandler) {
        return next.handle().pipe(map((value: unknown) => value));
      }
    }
    @Controller()
    class Silent {
      @Stream('silent', { format: 'sse', openDelay: 20, heartbeat: 20 })
      @UseInterceptors(Nothing)
      silent() {
        return NEVER;
      }
    }
    const { get } = await start(platform, [Silent]);
    const client = await get('/silent', { Prefer: LONG });

    await client.until(':\n\n');

    expect(client.received).toContain('HTTP/1.1 200 OK');
    expect(headerOf(client, 'preference-applied')).toBeUndefined();
  });

  it('for a subscription that is returned after the stream has opened', async () => {
    const { get, hub } = await start(platform, [Others]);
    await hub.publish('b');
    const client = await get('/late', { Accept: 'text/plain', Prefer: LONG });

    await client.until('1\r\nb\r\n');

    expect(client.body).toBe('ab');
    expect(client.complete).toBe(false);
  });

  it('for HEAD, to which the response is sent at once', async () => {
    const { url, hub } = await start(platform, [feedOf()]);

    const { status, headers } = await fetch(url('/feed'), { method: 'HEAD', headers: { ...SSE, Prefer: LONG } });

    expect(status).toBe(200);
    expect(headers.get('preference-applied')).toBeNull();
    expect(hub.size()).toBe(0);
  });

  it('if it is malformed, and the client receives a stream', async () => {
    const { get, hub } = await start(platform, [feedOf()]);
    const client = await get('/feed', { ...SSE, Prefer: 'wait=-1' });
    await joined(hub, 1);
    await publishAll(hub, ['a']);

    await client.until('data: a\n\n');

    expect(headerOf(client, 'preference-applied')).toBeUndefined();
    expect(headerOf(client, 'transfer-encoding')).toBe('chunked');
  });
});

/** A client that polls until it has received the last event. */
interface Seen {
  readonly numbers: number[];
  /** The numbers of events after which it received a reset. */
  readonly resets: number[];
}

async function follow(poll: PollingApp['poll'], path: string, last: number): Promise<Seen> {
  const numbers: number[] = [];
  const resets: number[] = [];
  let id = (await poll({ Prefer: 'wait=0' }, path)).id;
  ready.add(path);
  while (numbers.at(-1) !== last) {
    const answer = await poll({ Prefer: 'wait=5', 'Last-Event-ID': id }, path);
    for (const { event, data } of eventsOf(answer.body)) {
      event === 'reset' ? resets.push(numbers.length) : numbers.push(Number(data));
    }
    id = answer.id;
  }
  return { numbers, resets };
}

let ready = new Recorder();

describe.each(PLATFORMS)('%s: clients that poll during constant publishing', (platform) => {
  const TOPICS = ['t0', 't1', 't2', 't3'];
  const CLIENTS = ['topics=t0', 'topics=t1&topics=t2', 'topics=t3&items=3', 'items=7', 'even=1', 'topics=t0&bytes=9'];

  @Controller()
  class Busy {
    constructor(@InjectHub('feed') readonly hub: Hub<number>) {}

    @Stream('busy')
    busy(
      @LastEventId() after?: string,
      @Query('topics') topic?: string | string[],
      @Query('items') items?: string,
      @Query('bytes') bytes?: string,
      @Query('even') even?: string,
    ) {
      const queue = { ...(items && { items: Number(items) }), ...(bytes && { bytes: Number(bytes) }) };
      const filter = ({ data }: HubEvent<number>): boolean => data % 2 === 0;
      return this.hub.subscribe({ after, topic, queue, ...(even && { filter }) });
    }
  }

  beforeEach(() => {
    ready = new Recorder();
  });

  function wanted(query: string, n: number): boolean {
    return query.includes('even=') ? n % 2 === 0 : !query.includes('topics=') || query.includes(`t${n % 4}`);
  }

  /** Publishes numbers up to the last one, which all clients receive, in uneven turns. */
  async function publish(hub: Hub, count: number, between: (n: number) => unknown = () => undefined): Promise<void> {
    for (let n = 1; n <= count; n++) {
      void hub.publish(n, { topic: TOPICS[n % 4] });
      await between(n);
      if (n % 15 === 0 || n % 40 === 0) {
        await turns(1);
      }
    }
  }

  async function finish(hub: Hub, last: number): Promise<void> {
    for (const topic of TOPICS) {
      await hub.publish(last, { topic });
    }
  }

  it('each receive every event once and in order', async () => {
    const { poll, hub } = await start(platform, [Busy], { hub: { history: { limit: 100_000 } } });
    const following = CLIENTS.map((query) => follow(poll, `/busy?${query}`, 10_000));
    await ready.count(CLIENTS.length);

    await publish(hub, 600);
    await finish(hub, 10_000);

    for (const [i, { numbers, resets }] of (await Promise.all(following)).entries()) {
      const query = CLIENTS[i] ?? '';
      expect(resets).toEqual([]);
      expect(numbers.filter((n) => n < 10_000)).toEqual(range(1, 600).filter((n) => wanted(query, n)));
    }
  }, 60_000);

  it.each<[string, number, () => { hub: Partial<HubOptions>; lose(): void }]>([
    ['the history is short', 600, () => ({ hub: { history: { limit: 12 } }, lose: () => undefined })],
    [
      'the log begins a new epoch',
      160,
      () => {
        const store = new SharedStore();
        const hub = { broker: new SharedStoreBroker(store), history: { limit: 40 } };
        return { hub, lose: () => store.lose('feed') };
      },
    ],
  ])(
    'each receive every event once and in order, or a reset: %s',
    async (_, count, make) => {
      const { hub: options, lose } = make();
      const { poll, hub } = await start(platform, [Busy], { hub: options });
      const following = CLIENTS.map((query) => follow(poll, `/busy?${query}`, 10_000));
      await ready.count(CLIENTS.length);

      await publish(hub, count, (n) =>
        n % 60 === 0 ? hub.publish(n, { topic: TOPICS[n % 4] }).then(lose) : undefined,
      );
      await finish(hub, 10_000);

      let resetCount = 0;
      for (const [i, { numbers, resets }] of (await Promise.all(following)).entries()) {
        const mine = [...range(1, count).filter((n) => wanted(CLIENTS[i] ?? '', n)), 10_000];
        const places = numbers.map((n) => mine.indexOf(n));
        // Numbers divisible by 60, and the last one, are published several times.
        const gaps = places.flatMap((place, at) => {
          const step = place - (places[at - 1] ?? -1);
          const again = step === 0 && ((numbers[at] ?? 0) % 60 === 0 || numbers[at] === 10_000);
          return step === 1 || again ? [] : [at];
        });
        expect(places.every((place, at) => place >= (places[at - 1] ?? 0))).toBe(true);
        expect(gaps.filter((at) => !resets.includes(at))).toEqual([]);
        resetCount += resets.length;
      }
      expect(resetCount).toBeGreaterThan(0);
    },
    60_000,
  );
});
