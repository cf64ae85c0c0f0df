import {
  type ArgumentsHost,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  HttpException,
  Injectable,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { Subject } from 'rxjs';
import { uiMessages } from '../../lib/ai/index.js';
import {
  ConnectedStream,
  defineFormat,
  Hub,
  InjectHub,
  InjectRuns,
  LastEventId,
  Runs,
  Sse,
  Stream,
  type StreamConnection,
  type StreamHooks,
  StreamingModule,
  type StreamingModuleOptions,
  type StreamOptions,
} from '../../lib/index.js';
import { type FakeClock, useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { hubOf, joined, SSE, untilLast } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { eventually } from '../support/transports.js';
import { WebSocketClient } from '../support/websocket-client.js';

const NEVER = new Promise<never>(() => undefined);
const EVERY_MS = 30_000;
const EXPIRED = '{"statusCode":401,"message":"The access of the client has expired","error":"Unauthorized"}';
const REVOKED = '{"statusCode":401,"message":"The access of the client was revoked","error":"Unauthorized"}';
const FORBIDDEN = '{"statusCode":403,"message":"Forbidden resource","error":"Forbidden"}';

/** What the guard of later checks returns or throws. */
let verdict: () => unknown;
/** The access of the clients expires then. */
let expiresAt: unknown;
/** The calls of the guard of later checks. */
let checks: Recorder<ExecutionContext>;
/** How streams have ended. */
let ended: Recorder<{ readonly code: string; readonly error: unknown }>;
/** What a source sends. */
let chunks: Subject<string>;

beforeEach(() => {
  verdict = () => true;
  expiresAt = undefined;
  checks = new Recorder();
  ended = new Recorder();
  chunks = new Subject();
});

@Injectable()
class Guard implements CanActivate {
  canActivate(context: ExecutionContext) {
    checks.add(context);
    return verdict() as boolean;
  }
}

const LIMITED: StreamOptions = {
  expiresAt: () => expiresAt as number | undefined,
  reauthorize: { every: EVERY_MS, guards: [Guard] },
};

/** A format with a line before the chunks and a record for errors. */
const LINES = defineFormat({
  name: 'lines',
  mediaTypes: ['text/x-lines'],
  open: 'begin\n',
  encode: (value) => `${String(value)}\n`,
  close: 'end\n',
  error: ({ statusCode }) => `error ${statusCode}\n`,
});

/** More than the sockets of a machine take. */
const LARGE = 'x'.repeat(16 * 1024 * 1024);

@Catch(HttpException)
class Filter implements ExceptionFilter {
  catch(error: HttpException, host: ArgumentsHost) {
    const response = host.switchToHttp().getResponse<{ status(code: number): { send(body: unknown): unknown } }>();
    response.status(error.getStatus()).send({ filtered: error.message });
  }
}

@Controller()
class Feed {
  constructor(
    @InjectHub('feed') private readonly hub: Hub<string>,
    @InjectRuns('answers') private readonly runs: Runs<string>,
  ) {}

  @Stream('generator', { ...LIMITED, format: ['sse', 'ndjson', 'json-seq', 'text', 'bytes', 'json'] })
  async *generator() {
    yield 'a';
    await NEVER;
  }

  @Stream('hub', { ...LIMITED, format: ['sse', 'ndjson'], labels: () => ({ user: 'u1' }) })
  ofHub(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('observable', { ...LIMITED, format: ['sse', 'ndjson'] })
  observable() {
    return chunks;
  }

  @Stream('pushed', { ...LIMITED, format: ['sse', 'ndjson'] })
  pushed(@ConnectedStream() stream: StreamConnection<string>) {
    chunks.subscribe((chunk) => void stream.send(chunk));
  }

  @Stream('run', { ...LIMITED, format: ['sse', 'ndjson'] })
  run() {
    return this.runs.start('answer', async function* () {
      yield 'a';
      for await (const chunk of ofSubject()) {
        yield chunk;
      }
    });
  }

  @Stream('ai', { ...LIMITED, format: uiMessages })
  async *ai() {
    yield { type: 'start' };
    await NEVER;
  }

  @Stream('custom', { ...LIMITED, format: LINES })
  async *custom() {
    yield 'a';
    await NEVER;
  }

  @Stream('compressed', { ...LIMITED, format: 'ndjson', compression: true })
  async *compressed() {
    yield 'a';
    await NEVER;
  }

  @UseInterceptors({ intercept: (_context, next) => next.handle() })
  @UseFilters(Filter)
  @Stream('intercepted', { ...LIMITED, format: 'ndjson' })
  async *intercepted() {
    await NEVER;
    yield 'a';
  }

  @Sse('unlimited')
  async *unlimited() {
    yield 'a';
    await NEVER;
  }

  @Stream('large', { ...LIMITED, format: 'sse', queue: { bytes: 2 ** 26 } })
  large(@ConnectedStream() stream: StreamConnection<string>) {
    void stream.send(LARGE);
    void stream.send('secret');
  }

  @Sse('producer', { ...LIMITED, onDisconnect: { detach: 60_000 } })
  async *producer() {
    yield 'a';
    yield* ofSubject();
  }
}

/** The chunks until one is `end`. */
async function* ofSubject() {
  const queue = new Recorder<string>();
  chunks.subscribe(queue.add);
  for (let i = 0; ; i++) {
    const chunk = (await queue.count(i + 1))[i] as string;
    yield chunk;
    if (chunk === 'end') {
      return;
    }
  }
}

const hooks: StreamHooks = { onClose: (_, { code, error }) => ended.add({ code, error }) };

const launch = useApps();

async function start(platform: Platform, options: StreamingModuleOptions = {}) {
  const app = await launch(platform, {
    controllers: [Feed],
    imports: [StreamingModule.registerHub({ name: 'feed' }), StreamingModule.registerRuns({ name: 'answers' })],
    options: { websocket: true, heartbeat: false, hooks, ...options },
  });
  const clock = useFakeClock(app.app);
  now = () => app.registry.clock.date();
  expiresAt = undefined;
  return { ...app, clock, hub: hubOf<string>(app) };
}

/** Returns the time of day on the clock of the streams, which the tests hold. */
let now: () => number;

function inSeconds(seconds: number): number {
  return now() + seconds * 1_000;
}

/** Advances the clock until one more check begins. */
async function untilChecked(clock: FakeClock): Promise<void> {
  const before = checks.seen.length;
  while (checks.seen.length === before) {
    await clock.advance(1_000);
  }
}

const SOURCES = ['generator', 'hub', 'observable', 'pushed', 'run', 'producer'] as const;

describe.each(PLATFORMS)('%s: a stream', (platform) => {
  describe.each(SOURCES)('of the kind "%s"', (kind) => {
    it('ends when the access of its client expires: with an error record and a clean end', async () => {
      const app = await start(platform);
      expiresAt = inSeconds(60);
      const client = await app.get(`/${kind}`, SSE);
      await eventually(() => app.registry.size === 1);
      await app.clock.advance(1_000);
      await client.until('\r\n\r\n');
      chunks.next('b');

      await app.clock.advance(61_000);
      await client.until(/\r\n0\r\n\r\n$/);

      expect(client.complete).toBe(true);
      expect(client.body).toMatch(/event: error\ndata: .*\n\n$/);
      expect(client.body.slice(client.body.indexOf('event: error'))).toBe(`event: error\ndata: ${EXPIRED}\n\n`);
      expect(await ended.count(1)).toMatchObject([{ code: 'expired', error: { status: 401 } }]);
    });

    it('ends when a guard refuses its client later: nothing is sent after the check has begun', async () => {
      const app = await start(platform);
      const client = await app.get(`/${kind}`, SSE);
      await eventually(() => app.registry.size === 1);
      await app.clock.advance(1_000);
      await client.until('\r\n\r\n');
      const answer = deferred<boolean>();
      verdict = () => answer.promise;

      await untilChecked(app.clock);
      chunks.next('secret');
      await app.hub.publish('secret');
      await app.clock.advance(1_000);
      answer.resolve(false);
      await client.until(/\r\n0\r\n\r\n$/);

      expect(client.complete).toBe(true);
      expect(client.body).not.toContain('secret');
      expect(client.body.slice(client.body.indexOf('event: error'))).toBe(`event: error\ndata: ${FORBIDDEN}\n\n`);
      expect(await ended.count(1)).toMatchObject([{ code: 'revoked', error: { status: 403 } }]);
    });

    it('sends what has waited for a check that its client passes', async () => {
      const app = await start(platform);
      const client = await app.get(`/${kind}`, SSE);
      await eventually(() => app.registry.size === 1);
      await app.clock.advance(1_000);
      await client.until('\r\n\r\n');
      const answer = deferred<boolean>();
      verdict = () => answer.promise;
      await untilChecked(app.clock);
      chunks.next('b');
      await app.hub.publish('b');
      const before = client.body;
      await app.clock.advance(1_000);

      expect(client.body).toBe(before);
      answer.resolve(true);

      if (kind !== 'generator') {
        await client.until('data: b');
      }
      expect(ended.seen).toEqual([]);
    });
  });
});

describe.each(PLATFORMS)('%s: access that expires', (platform) => {
  it.each([
    ['application/x-ndjson', `"a"\n{"error":${EXPIRED}}\n`, true],
    ['application/json-seq', `\x1e"a"\n\x1e{"error":${EXPIRED}}\n`, true],
    ['text/plain', 'a', false],
    ['application/octet-stream', 'a', false],
    ['application/json', '["a"', false],
  ])('ends a stream of %s with a record, or cuts it off if its format has none', async (Accept, body, complete) => {
    const app = await start(platform);
    expiresAt = new Date(inSeconds(60));
    const client = await app.get('/generator', { Accept });
    await client.until('a');

    await app.clock.advance(61_000);
    await (complete ? client.until(/\r\n0\r\n\r\n$/) : client.closed());

    expect(client.body).toBe(body);
    expect(client.complete).toBe(complete);
    expect(await ended.count(1)).toMatchObject([{ code: 'expired' }]);
    expect(app.registry.snapshot().totals.ended).toEqual({ expired: 1 });
  });

  it('closes a WebSocket with 1008, or with 4401 if the client has asked for events.v1+json', async () => {
    const app = await start(platform);
    expiresAt = inSeconds(60);
    const plain = await WebSocketClient.open(app.url('/generator'));
    const events = await WebSocketClient.open(app.url('/generator'), ['events.v1+json']);
    await plain.messages.count(1);
    await events.messages.count(1);

    await app.clock.advance(61_000);

    expect(await plain.all()).toEqual(['a', `{"error":${EXPIRED}}`]);
    expect(await events.all()).toEqual(['{"data":"a"}', `{"type":"error","data":${EXPIRED}}`]);
    expect(await plain.closed).toEqual({ code: 1008, reason: 'expired' });
    expect(await events.closed).toEqual({ code: 4401, reason: 'expired' });
  });

  it.each([
    ['a long poll', '/hub', { ...SSE, Prefer: 'wait=50' }],
    ['a stream that has sent nothing', '/observable', SSE],
  ])('gives %s the status 401', async (_what, path, headers) => {
    const app = await start(platform, { openDelay: 'first-chunk' });
    expiresAt = inSeconds(20);
    const client = await app.get(path, { ...headers, Connection: 'close' });
    await eventually(() => app.registry.size === 1);

    await app.clock.advance(21_000);
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 401 /);
    expect(JSON.parse(client.body)).toEqual(JSON.parse(EXPIRED));
    expect(await ended.count(1)).toMatchObject([{ code: 'expired' }]);
  });

  it('lets a long poll respond after a check that its client passes', async () => {
    const app = await start(platform);
    const client = await app.get('/hub', { ...SSE, Prefer: 'wait=50', Connection: 'close' });
    await joined(app.hub, 1);
    const answer = deferred<boolean>();
    verdict = () => answer.promise;
    await untilChecked(app.clock);
    await app.hub.publish('b');
    await app.clock.advance(1_000);

    expect(client.received).toBe('');
    answer.resolve(true);
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(client.body).toMatch(/^id: \S+\ndata: b\n\n/);
  });

  it('refuses a request whose access has expired already, over HTTP and WebSocket, without calling the handler', async () => {
    const app = await start(platform);
    expiresAt = inSeconds(0);

    const response = await fetch(app.url('/hub'), { headers: SSE });
    const refusal = await WebSocketClient.refusal(app.url('/hub'));

    expect([response.status, await response.json()]).toEqual([401, JSON.parse(EXPIRED)]);
    expect(refusal.status).toBe(401);
    expect(app.registry.snapshot().totals.opened).toBe(0);
    expect(app.logs.of('warn')).toEqual([]);
  });

  it('in seconds instead of milliseconds is a warning', async () => {
    const app = await start(platform);
    expiresAt = Math.round(inSeconds(60) / 1_000);

    expect((await fetch(app.url('/hub'), { headers: SSE })).status).toBe(401);
    expect(app.logs.of('warn').join()).toContain('Feed.ofHub: "expiresAt" has returned');
  });

  it.each([
    ['NaN', Number.NaN],
    ['a text', '2030-01-01'],
    ['an invalid date', new Date(Number.NaN)],
    ['null', null],
    ['a promise', Promise.resolve(1)],
  ])('may not be %s', async (_what, wrong) => {
    const app = await start(platform);
    expiresAt = wrong;

    expect((await fetch(app.url('/hub'), { headers: SSE })).status).toBe(500);
    expect(app.logs.of('error').join()).toContain('"expiresAt" of Feed.ofHub: the time has to be a number');
  });

  it.each([
    ['undefined', undefined],
    ['Infinity', Infinity],
  ])('and is %s never expires', async (_what, never) => {
    const app = await start(platform);
    expiresAt = never;
    const client = await app.get('/generator', SSE);
    await client.until('data: a');

    await app.clock.advance(20_000);

    expect(app.registry.size).toBe(1);
  });

  it('can be set by stream.expire() for a stream that has been silent, and then ends it on time', async () => {
    const app = await start(platform);
    const client = await app.get('/unlimited', SSE);
    await client.until('data: a');
    const [stream] = [...app.registry];
    await app.clock.advance(10_000);

    stream?.expire(inSeconds(3));
    await app.clock.advance(2_000);
    expect(app.registry.size).toBe(1);
    await app.clock.advance(1_000);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(ended.seen).toMatchObject([{ code: 'expired' }]);
  });

  it('is replaced by stream.expire(), and not by the time of the option any more', async () => {
    const app = await start(platform);
    expiresAt = inSeconds(10);
    const client = await app.get('/generator', SSE);
    await client.until('data: a');
    const [stream] = [...app.registry];

    stream?.expire(inSeconds(20));
    await app.clock.advance(19_000);
    expect(app.registry.size).toBe(1);
    stream?.expire(undefined);
    await app.clock.advance(10_000);
    expect(app.registry.size).toBe(1);
    stream?.expire(new Date(inSeconds(-1)));
    await client.until(/\r\n0\r\n\r\n$/);

    expect(ended.seen).toMatchObject([{ code: 'expired' }]);
    expect(() => stream?.expire(Number.NaN)).toThrow('stream.expire() in Feed.generator: the time has to be a number');
    expect(stream?.expire(1).state).toBe('closed');
  });
});

describe.each(PLATFORMS)('%s: a stream whose access expires', (platform) => {
  it.each([
    ['an AI protocol', '/ai', /^data: \{"type":"start"\}\n\ndata: \{"type":"error",.*\}\n\n(data: \[DONE\]\n\n)?$/],
    ['a format of the application', '/custom', /^begin\na\nerror 401\n$/],
  ])('ends in %s with its error record', async (_what, path, body) => {
    const app = await start(platform);
    expiresAt = inSeconds(60);
    const client = await app.get(path);
    await client.until(/a\n|start/);

    await app.clock.advance(61_000);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(client.body).toMatch(body);
  });

  it('ends cleanly when it is compressed', async () => {
    const app = await start(platform);
    expiresAt = inSeconds(60);
    const response = await fetch(app.url('/compressed'));
    const text = response.text();

    await app.clock.advance(61_000);

    expect(response.headers.get('content-encoding')).not.toBeNull();
    expect(await text).toBe(`"a"\n{"error":${EXPIRED}}\n`);
  });

  it('is answered by the exception filter of its route, also with interceptors, if it has sent nothing', async () => {
    const app = await start(platform, { openDelay: 'first-chunk' });
    expiresAt = inSeconds(0);
    const early = await fetch(app.url('/intercepted'));
    expiresAt = inSeconds(20);
    const late = fetch(app.url('/intercepted'));
    await eventually(() => app.registry.size === 1);

    await app.clock.advance(21_000);

    for (const response of [early, await late]) {
      expect(response.status).toBe(401);
      expect(await response.json()).toEqual({ filtered: 'The access of the client has expired' });
    }
  });

  it('sends a slow client the rest of a chunk that it has received in part, and none of those behind it', async () => {
    const app = await start(platform);
    expiresAt = inSeconds(10);
    const client = await app.get('/large');
    await client.until('data: x');
    client.socket.pause();
    await eventually(() => ([...app.registry][0]?.bufferedAmount ?? 0) > 0);

    await app.clock.advance(11_000);
    const last = untilLast(client, '\r\n0\r\n\r\n');
    client.socket.resume();
    await last;

    expect(client.body === `data: ${LARGE}\n\nevent: error\ndata: ${EXPIRED}\n\n`).toBe(true);
  });
});

describe.each(PLATFORMS)('%s: a close with the code "revoked"', (platform) => {
  it('tells the clients of streams with labels, and of those that a function matches', async () => {
    const app = await start(platform);
    const labelled = await app.get('/hub', { Accept: 'application/x-ndjson' });
    const other = await app.get('/generator', SSE);
    await other.until('data: a');
    await joined(app.hub, 1);

    expect(await app.registry.close({ user: 'u1' }, { code: 'revoked' })).toBe(1);
    expect(await app.registry.close(({ route }) => route === 'Feed.generator', { code: 'revoked' })).toBe(1);
    await labelled.until(/\r\n0\r\n\r\n$/);
    await other.until(/\r\n0\r\n\r\n$/);

    expect(labelled.body).toBe(`{"error":${REVOKED}}\n`);
    expect(other.body).toBe(`data: a\n\nevent: error\ndata: ${REVOKED}\n\n`);
    expect(ended.seen).toMatchObject([{ code: 'revoked' }, { code: 'revoked' }]);
  });

  it('may have no other code', async () => {
    const app = await start(platform);
    const code = 'expired' as 'revoked';

    await expect(app.registry.close({ user: 'u1' }, { code })).rejects.toMatchObject({ code: 'invalid-option' });
  });

  it('makes the guards of later streams with the labels decide, in the minute after it', async () => {
    const app = await start(platform);
    await app.registry.close({ user: 'u1' }, { code: 'revoked' });
    verdict = () => false;
    const refused = await fetch(app.url('/hub'), { headers: SSE });
    verdict = () => true;
    await app.clock.advance(50_000);
    await app.get('/hub', SSE);
    await joined(app.hub, 1);
    expect(checks.seen.length).toBe(2);
    await app.clock.advance(11_000);
    await app.get('/hub', SSE);
    await joined(app.hub, 2);

    expect(refused.status).toBe(403);
    expect(checks.seen.length).toBe(2);
  });
});
