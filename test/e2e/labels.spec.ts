import { type CanActivate, Controller, UseGuards, UseInterceptors } from '@nestjs/common';
import { map } from 'rxjs';
import {
  ConnectedStream,
  Hub,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamLabels,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { hubOf, joined, SSE } from '../support/hub.js';
import { useApps } from '../support/running.js';

const NEVER = new Promise<never>(() => undefined);

/** What the option `labels` returns in a test. */
let labels: () => unknown;
let guarded = deferred();
let passing = deferred();
const called = new Recorder();

const slowly: CanActivate = {
  async canActivate() {
    guarded.resolve();
    await passing.promise;
    return true;
  },
};

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub) {}

  @Stream('labelled', { format: 'ndjson', labels: () => labels() as StreamLabels })
  async *labelled() {
    called.add('labelled');
    yield 'x';
    await NEVER;
  }

  @Sse('hub', { labels: () => ({ user: 'a' }) })
  ofHub(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @UseGuards(slowly)
  @Sse('guarded', { labels: () => ({ user: 'a' }) })
  guarded() {
    called.add('guarded');
    return this.hub.subscribe();
  }

  @UseGuards(slowly)
  @UseInterceptors({ intercept: (_context, next) => next.handle().pipe(map((value: unknown) => value)) })
  @Stream('intercepted', { format: 'ndjson', labels: () => ({ user: 'a' }) })
  async *intercepted() {
    called.add('intercepted');
    yield 'x';
  }

  @Stream('labels-itself', { format: 'ndjson' })
  async *labelsItself(@ConnectedStream() stream: StreamConnection) {
    yield 'x';
    stream.label(labels() as StreamLabels);
    yield 'y';
  }
}

beforeEach(() => {
  labels = () => undefined;
  guarded = deferred();
  passing = deferred();
  called.seen.splice(0);
});

const MISUSE: readonly (readonly [string, unknown, string])[] = [
  ['a promise', Promise.reject(new Error('no user')), 'labels have to be known at once, and this is a promise'],
  ['a text', 'u1', "labels are an object such as { user: 'u1' }"],
  ['a list', ['u1'], "labels are an object such as { user: 'u1' }"],
  ['an object of a class', new Map([['user', 'u1']]), "labels are an object such as { user: 'u1' }"],
  ['null', null, "labels are an object such as { user: 'u1' }"],
  ['a number', { user: 1 }, 'the label "user" has to be a string, not number'],
  ['a label without a value', { user: undefined }, 'the label "user" has to be a string, not undefined'],
  ['an empty label', { user: '' }, 'the label "user" has to be 1 to 256 characters without control characters'],
  ['a long label', { user: 'x'.repeat(257) }, 'the label "user" has to be 1 to 256 characters'],
  [
    'a label of two lines',
    { user: 'a\nb' },
    'the label "user" has to be 1 to 256 characters without control characters',
  ],
  ['a label without a name', { '': 'x' }, 'the name of the label "" has to be 1 to 256 characters'],
];

const TOO_MANY = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`label${index}`, 'x']));

describe.each(PLATFORMS)('%s: labels', (platform) => {
  const launch = useApps();
  const start = () =>
    launch(platform, { controllers: [Feed], imports: [StreamingModule.registerHub({ name: 'feed' })] });

  it.each([...MISUSE, ['too many labels', TOO_MANY, 'a stream has at most 16 labels'] as const])(
    'may not be %s: the client gets the status 500, and the log says what is wrong',
    async (_, wrong, message) => {
      const { url, logs, registry } = await start();
      labels = () => wrong;

      const response = await fetch(url('/labelled'));

      expect(response.status).toBe(500);
      expect(logs.of('error').join('\n')).toContain(`"labels" of Feed.labelled: ${message}`);
      expect(called.seen).toEqual([]);
      expect(registry.snapshot().totals.opened).toBe(0);
    },
  );

  it.each([...MISUSE, ['too many labels', TOO_MANY, 'a stream has at most 16 labels'] as const])(
    'may not be %s in label() and close()',
    async (_, wrong, message) => {
      const { get, logs, registry } = await start();
      labels = () => wrong;

      await (await get('/labels-itself')).closed();

      expect(logs.of('error').join('\n')).toContain(`stream.label() in Feed.labelsItself: ${message}`);
      const many = wrong === TOO_MANY;
      const closed = registry.close(wrong as StreamLabels);
      await (many
        ? expect(closed).resolves.toBe(0)
        : expect(closed).rejects.toMatchObject({
            code: 'invalid-argument',
            message: expect.stringContaining(`StreamRegistry.close(): ${message}`) as string,
          }));
    },
  );

  it('that are none match nothing, also after a close, and an object without labels closes nothing', async () => {
    const { get, registry } = await start();
    await registry.close({ user: 'a' });
    const client = await get('/labelled');
    await client.until('"x"\n');

    expect(await registry.close({ user: 'a' })).toBe(0);
    await expect(registry.close({})).rejects.toMatchObject({ code: 'invalid-argument' });
    expect([...registry].map((stream) => stream.labels)).toEqual([{}]);
  });

  it('with names of members of all objects match only themselves', async () => {
    const { get, registry } = await start();
    labels = () => JSON.parse('{"__proto__":"a","constructor":"b"}') as unknown;
    const client = await get('/labelled');
    await client.until('"x"\n');

    expect(await registry.close(JSON.parse('{"__proto__":"b"}') as StreamLabels)).toBe(0);
    expect(await registry.close({ toString: 'a' } as unknown as StreamLabels)).toBe(0);
    expect(await registry.close(JSON.parse('{"__proto__":"a"}') as StreamLabels)).toBe(1);
  });

  it('do not change when the object is changed that they were taken from', async () => {
    const { get, registry } = await start();
    const mine = { user: 'a' };
    labels = () => mine;
    const client = await get('/labelled');
    await client.until('"x"\n');
    mine.user = 'b';

    expect(await registry.close({ user: 'b' })).toBe(0);
    expect(await registry.close({ user: 'a' })).toBe(1);
  });

  it('close a long poll, whose client receives the id to resume from', async () => {
    const app = await start();
    const hub = hubOf(app);
    const id = await hub.publish('a');
    const client = await app.get('/hub', { ...SSE, Prefer: 'wait=60', 'Last-Event-ID': id, Connection: 'close' });
    await joined(hub, 1);

    expect(await app.registry.close({ user: 'a' })).toBe(1);

    await client.closed();
    expect(client.head).toMatch(/^HTTP\/1\.1 204 /);
    expect(client.head).toContain(id);
  });

  it('that were closed between the guard and the handler make an EventSource reconnect', async () => {
    const { get, registry } = await start();
    const client = await get('/guarded', { ...SSE, Connection: 'close' });
    await guarded.promise;

    await registry.close({ user: 'a' });
    passing.resolve();

    await client.closed();
    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(client.body).toMatch(/^event: shutdown\nretry: \d+\ndata: \{\}\n\n$/);
    expect(called.seen).toEqual([]);
  });

  it('that were closed between the guard and the handler refuse the request also with an interceptor', async () => {
    const { url, registry } = await start();
    const response = fetch(url('/intercepted'));
    await guarded.promise;

    await registry.close({ user: 'a' });
    passing.resolve();

    expect((await response).status).toBe(503);
    expect(called.seen).toEqual([]);
  });
});
