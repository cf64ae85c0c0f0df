import { AssertionError } from 'node:assert';
import { readFileSync } from 'node:fs';
import { Body, Controller, type INestApplication, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  ConnectedStream,
  Hub,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamingModuleOptions,
  StreamSignal,
} from '../../lib/index.js';
import { expectNoOpenStreams, expectOpenStreams, streamOf, useFakeClock } from '../../lib/testing/index.js';
import { LogRecorder, PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { untilStable } from '../support/running.js';

const KIB_64 = 'x'.repeat(65_536);

/** Opened and closed streams, in order. */
let seen: Recorder;
/** The number of chunks that were pulled from the endless route. */
let pulled: number;

@Controller('feed')
class Feed {
  constructor(@InjectHub('prices') readonly prices: Hub<{ eur: number }>) {}

  @Sse('prices')
  watch(@LastEventId() after?: string) {
    return this.prices.subscribe({ after });
  }

  @Stream('numbers/:n')
  *numbers(@Param('n') n: string) {
    for (let i = 1; i <= Number(n); i++) {
      yield { i };
    }
  }

  @Sse('words')
  *words() {
    yield 'plain';
    yield { type: 'count', id: '7', data: { n: 1 } };
    yield { comment: 'hint' };
    yield { data: '2' };
  }

  @Stream('pushed', { format: 'text' })
  async pushed(@ConnectedStream() stream: StreamConnection<string>) {
    seen.add('pushed');
    stream.hooks({ onClose: (_stream, { code }) => seen.add(code) }).open();
    await stream.send('a');
  }

  @Stream('silent', { format: 'sse' })
  silent(@ConnectedStream() stream: StreamConnection) {
    stream.header('X-Route', 'silent').hooks({ onClose: (_stream, { code }) => seen.add(code) });
  }

  @Stream('endless', { format: 'bytes' })
  *endless(@ConnectedStream() stream: StreamConnection) {
    stream.hooks({ onClose: (_stream, { code }) => seen.add(code) });
    for (;;) {
      pulled++;
      yield KIB_64;
    }
  }

  @Stream('failing', { format: 'sse' })
  async *failing(@StreamSignal() _signal: AbortSignal) {
    yield 1;
    throw new Error('No more');
  }

  @Stream('half', { format: 'json' })
  async *half() {
    yield 1;
    throw new Error('No more');
  }

  @Post('echo')
  @Stream({ format: 'ndjson' })
  *echo(@Body() body: unknown) {
    yield body;
  }
}

const apps: INestApplication[] = [];

/** An application that does not listen yet. */
async function create(platform: Platform, options: StreamingModuleOptions = {}): Promise<INestApplication> {
  class TestModule {}
  const module = {
    module: TestModule,
    imports: [
      StreamingModule.forRoot({ shutdown: { grace: 0 }, ...options }),
      StreamingModule.registerHub({ name: 'prices' }),
    ],
    controllers: [Feed],
  };
  const settings = { logger: new LogRecorder(), abortOnError: false };
  const app: INestApplication =
    platform === 'express'
      ? await NestFactory.create(module, settings)
      : await NestFactory.create(module, new FastifyAdapter(), settings);
  apps.push(app);
  return app;
}

/** Resolves to the error with which a promise rejects. */
async function failureOf(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  // Not toBeInstanceOf(): the AssertionError of Node.js extends another Error than the one of Jest.
  expect(error).toHaveProperty('message');
  return error as Error;
}

beforeEach(() => {
  seen = new Recorder();
  pulled = 0;
});

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

describe.each(PLATFORMS)('%s: streamOf', (platform) => {
  it('opens streams of an application that does not listen yet, several at a time', async () => {
    const app = await create(platform);
    const streams = await Promise.all([1, 2, 3].map((n) => streamOf(app, `/feed/numbers/${n}`)));
    expect((await Promise.all(streams.map((stream) => stream.rest()))).map(({ length }) => length)).toEqual([1, 2, 3]);
    await expectNoOpenStreams(app);
  });

  it.each(['ndjson', 'jsonl', 'json-seq', 'json', 'sse'] as const)('returns the same events for %s', async (format) => {
    const app = await create(platform);
    const stream = await streamOf(app, 'feed/numbers/3', { format });
    expect(stream.status).toBe(200);
    expect(stream.headers.get('vary')).toBe('Accept');
    expect(await stream.collect(2)).toEqual([{ data: { i: 1 } }, { data: { i: 2 } }]);
    expect(await stream.rest()).toEqual([{ data: { i: 3 } }]);
    expect(stream.ended).toBe('complete');
  });

  it('returns text as strings, and bytes as buffers', async () => {
    const app = await create(platform);
    const text = await streamOf(app, '/feed/pushed');
    expect(await text.next()).toEqual({ data: 'a' });
    text.disconnect();
    const bytes = await streamOf(app, '/feed/endless');
    const { data } = await bytes.next();
    expect(Buffer.isBuffer(data)).toBe(true);
    bytes.disconnect();
  });

  it('returns all fields of events', async () => {
    const app = await create(platform);
    const stream = await streamOf(app, '/feed/words');
    expect(await stream.rest()).toEqual([{ data: 'plain' }, { data: { n: 1 }, id: '7', type: 'count' }, { data: 2 }]);
    const all = await streamOf(app, '/feed/words', { all: true, json: false });
    expect(await all.collect(4)).toEqual([
      { data: 'plain' },
      { data: '{"n":1}', id: '7', type: 'count' },
      { comment: 'hint' },
      { data: '2' },
    ]);
  });

  it('sends the same request as fetch', async () => {
    const app = await create(platform);
    const stream = await streamOf(app, '/feed/echo', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ say: 'hé' }),
    });
    expect(stream.status).toBe(201);
    expect(await stream.rest()).toEqual([{ data: { say: 'hé' } }]);
  });

  it('resumes after an event', async () => {
    const app = await create(platform);
    const first = await streamOf<{ eur: number }>(app, '/feed/prices');
    const { prices } = app.get(Feed);
    await prices.publish({ eur: 1 });
    await prices.publish({ eur: 2 });
    const { id } = await first.next();
    first.disconnect();
    const second = await streamOf<{ eur: number }>(app, '/feed/prices', { lastEventId: id });
    expect((await second.next()).data.eur).toBe(2);
    second.disconnect();
    expect(second.ended).toBe('disconnected');
    await expectNoOpenStreams(app);
  });

  it('resolves for a refusal too, and returns its body as one event', async () => {
    const app = await create(platform);
    const refused = await streamOf(app, '/feed/numbers/1', { headers: { accept: 'image/png' } });
    expect(refused.status).toBe(406);
    expect((await refused.next()).data).toMatchObject({ statusCode: 406 });
  });

  it('distinguishes a body that is cut off from a complete one', async () => {
    const app = await create(platform);
    const stream = await streamOf(app, '/feed/failing');
    expect(await stream.rest()).toEqual([
      { data: 1 },
      { type: 'error', data: { statusCode: 500, message: 'Internal server error' } },
    ]);
    expect(stream.ended).toBe('truncated');
    const half = await streamOf(app, '/feed/half');
    // In an array, an incomplete value is not returned.
    expect(await half.rest()).toEqual([]);
    expect(half.ended).toBe('truncated');
  });

  it('skips events until one matches the predicate', async () => {
    const app = await create(platform);
    const stream = await streamOf<{ i: number }>(app, '/feed/numbers/5');
    expect(await stream.until(({ data }) => data.i > 2)).toEqual({ data: { i: 3 } });
    expect(await stream.next()).toEqual({ data: { i: 4 } });
  });

  it('can be iterated; leaving the loop disconnects', async () => {
    const app = await create(platform);
    const all: unknown[] = [];
    const stream = await streamOf<{ i: number }>(app, '/feed/numbers/3');
    for await (const { data } of stream) {
      all.push(data.i);
    }
    expect(all).toEqual([1, 2, 3]);
    expect(stream.ended).toBe('complete');
    const endless = await streamOf(app, '/feed/endless');
    for await (const _ of endless) {
      break;
    }
    expect(endless.ended).toBe('disconnected');
    expect(await seen.count(1)).toEqual(['client-closed']);
    await expectNoOpenStreams(app);
  });

  it('disconnects when its signal is aborted', async () => {
    const app = await create(platform);
    const leaving = new AbortController();
    const stream = await streamOf(app, '/feed/pushed', { signal: leaving.signal });
    await stream.next();
    const next = failureOf(stream.next());
    leaving.abort();
    expect((await next).message).toBe(
      "GET /feed/pushed (status 200): the stream ended (disconnected) before event 2. Received: 1, the last of them { data: 'a' }",
    );
    expect(await seen.count(2)).toEqual(['pushed', 'client-closed']);
  });

  it('rejects with the reason of a signal that is aborted before the head arrives', async () => {
    const app = await create(platform, { openDelay: 'first-chunk' });
    const leaving = new AbortController();
    const opening = failureOf(streamOf(app, '/feed/silent', { signal: leaving.signal }));
    await expectOpenStreams(app, 1);
    leaving.abort(new Error('Enough'));
    expect((await opening).message).toBe('Enough');
    await expectNoOpenStreams(app);
    expect((await failureOf(streamOf(app, '/feed/silent', { signal: leaving.signal }))).message).toBe('Enough');
  });

  it('lists the received events when the stream ends too early', async () => {
    const app = await create(platform);
    const stream = await streamOf(app, '/feed/numbers/2');
    const error = await failureOf(stream.collect(3));
    expect(error).toBeInstanceOf(AssertionError);
    expect(error.message).toBe(
      'GET /feed/numbers/2 (status 200): the stream ended (complete) before 3 events from event 1 on. Received: 2, the last of them { data: { i: 1 } }, { data: { i: 2 } }',
    );
    const none = await streamOf(app, '/feed/numbers/0');
    expect((await failureOf(none.until(() => true))).message).toBe(
      'GET /feed/numbers/0 (status 200): the stream ended (complete) before an event that matches the predicate. No event was received',
    );
  });

  it('reports which event did not arrive in time', async () => {
    const app = await create(platform, { openDelay: 'first-chunk' });
    const stream = await streamOf(app, '/feed/pushed', { timeout: 1_000 });
    expect((await failureOf(stream.collect(2))).message).toContain(
      '2 events from event 1 on did not arrive within 1000 ms. ',
    );
    stream.stall();
    const stalled = await failureOf(stream.next());
    expect(stalled.message).toContain('did not arrive within 1000 ms: the client is stalled, call resume().');
    const silent = await failureOf(streamOf(app, '/feed/silent', { timeout: 50 }));
    expect(silent).toBeInstanceOf(AssertionError);
    expect(silent.message).toBe('GET /feed/silent had no response within 50 ms');
  }, 60_000);

  it('stops reading after stall(), until resume()', async () => {
    const app = await create(platform);
    const stream = await streamOf(app, '/feed/endless');
    await stream.next();
    stream.stall();
    const taken = await untilStable(() => pulled);
    expect(taken).toBeLessThan(1_000);
    stream.resume();
    await stream.until(() => pulled > taken);
    stream.disconnect();
    await expectNoOpenStreams(app);
  });

  it('stops reading if the test does not read events', async () => {
    const app = await create(platform);
    const stream = await streamOf<Buffer>(app, '/feed/endless');
    const taken = await untilStable(() => pulled);
    let bytes = 0;
    await stream.until(({ data }) => {
      bytes += data.length;
      return bytes > (taken + 10) * KIB_64.length;
    });
    stream.disconnect();
  });

  it('refuses unknown formats, and URLs of other applications', async () => {
    const app = await create(platform);
    expect(await failureOf(streamOf(app, '/', { format: 'xml' as 'sse' }))).toMatchObject({ code: 'invalid-option' });
    expect(await failureOf(streamOf(app, 'http://example.com/'))).toMatchObject({ code: 'invalid-argument' });
  });

  it('refuses a timeout that is not a duration in milliseconds', async () => {
    const app = await create(platform);
    for (const timeout of [Number.POSITIVE_INFINITY, 2 ** 31, -1, Number.NaN]) {
      const refusal = {
        code: 'invalid-option',
        message: expect.stringContaining('"timeout" must be a number of milliseconds'),
      };
      expect(await failureOf(streamOf(app, '/feed/numbers/1', { timeout }))).toMatchObject(refusal);
      expect(await failureOf(expectNoOpenStreams(app, { timeout }))).toMatchObject(refusal);
    }
    await expectNoOpenStreams(app, { timeout: 0.5 });
  });

  it('rejects when the body is compressed', async () => {
    const app = await create(platform, { compression: { encodings: ['gzip'], threshold: 1 } });
    const stream = await streamOf(app, '/feed/numbers/1000', { headers: { 'Accept-Encoding': 'gzip' } });
    expect((await failureOf(stream.next())).message).toContain('the body is compressed (gzip)');
    await expectNoOpenStreams(app);
  });

  it('rejects when the application has been closed', async () => {
    const app = await create(platform);
    await (await streamOf(app, '/feed/numbers/1')).rest();
    await app.close();
    expect(await failureOf(streamOf(app, '/feed/numbers/1'))).toMatchObject({
      code: 'invalid-argument',
      message: 'streamOf() needs a port, but the application has been closed',
    });
  });
});

describe('an application for HTTP/2', () => {
  const tls = (name: string) => readFileSync(new URL(`../support/tls/${name}.pem`, import.meta.url));

  async function serve(options: object): Promise<INestApplication> {
    const module = { module: class {}, imports: [StreamingModule.forRoot()], controllers: [] };
    const adapter = new FastifyAdapter({ http2: true, ...options } as object);
    const app: INestApplication = await NestFactory.create(module, adapter, { logger: false });
    apps.push(app);
    return app;
  }

  it('is rejected by streamOf() without TLS', async () => {
    expect(await failureOf(streamOf(await serve({}), '/'))).toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('this application speaks only HTTP/2'),
    });
  });

  it('is rejected by streamOf() with TLS', async () => {
    const app = await serve({ https: { key: tls('key'), cert: tls('cert') } });
    expect((await failureOf(streamOf(app, '/'))).message).toMatch(
      /^GET \/ failed without a response: .*no application protocol/,
    );
  });

  it('is accepted by streamOf() if it allows HTTP/1.1', async () => {
    const app = await serve({ https: { key: tls('key'), cert: tls('cert'), allowHTTP1: true } });
    expect((await streamOf(app, '/')).status).toBe(404);
  });
});

describe.each(PLATFORMS)('%s: useFakeClock', (platform) => {
  it('sends heartbeats only when the test advances the clock', async () => {
    const app = await create(platform);
    const clock = useFakeClock(app);
    const stream = await streamOf(app, '/feed/prices', { all: true });
    const { id } = await stream.next();
    await clock.advance(14_999);
    const { prices } = app.get(Feed);
    const published = await prices.publish({ eur: 1 });
    expect(await stream.next()).toEqual({ data: { eur: 1 }, id: published });
    // The clock was advanced, but the stream was not silent, so no heartbeat is due.
    await clock.advance(14_999);
    const last = await prices.publish({ eur: 2 });
    await clock.advance(15_000);
    await clock.advance(15_000);
    expect(await stream.collect(3)).toEqual([{ data: { eur: 2 }, id: last }, { comment: '' }, { comment: '' }]);
    expect(id).not.toBe(published);
    stream.disconnect();
  });

  it('opens a silent stream after its openDelay, and closes it after its maxDuration', async () => {
    const app = await create(platform, { openDelay: 500, maxDuration: 60_000 });
    const clock = useFakeClock(app);
    const opening = streamOf(app, '/feed/silent', { all: true });
    await expectOpenStreams(app, 1);
    await clock.advance(500);
    const stream = await opening;
    expect(stream.headers.get('x-route')).toBe('silent');
    await clock.advance(15_000);
    expect(await stream.next()).toEqual({ comment: '' });
    await clock.advance(44_499);
    await expectOpenStreams(app, 1);
    await clock.advance(1);
    await stream.rest();
    expect(stream.ended).toBe('complete');
    expect(await seen.count(1)).toEqual(['deadline']);
  });

  it('disconnects a client that reads nothing after sendTimeout', async () => {
    const app = await create(platform, { sendTimeout: 30_000 });
    const clock = useFakeClock(app);
    const stream = await streamOf(app, '/feed/endless');
    stream.stall();
    await untilStable(() => pulled);
    await clock.advance(29_999);
    expect(seen.seen).toEqual([]);
    await clock.advance(1);
    expect(await seen.count(1)).toEqual(['send-timeout']);
    stream.resume();
    await stream.rest();
    expect(stream.ended).toBe('truncated');
  });

  it('lets time continue from the fake time after restore()', async () => {
    const app = await create(platform, { heartbeat: 40 });
    const clock = useFakeClock(app);
    const stream = await streamOf(app, '/feed/silent', { timeout: 100 }).catch((error: Error) => error.message);
    expect(stream).toBe('GET /feed/silent had no response within 100 ms');
    await expectNoOpenStreams(app);
    const opening = streamOf(app, '/feed/silent', { all: true });
    await expectOpenStreams(app, 1);
    await clock.advance(1_000);
    clock.restore();
    clock.restore();
    expect(await (await opening).collect(2)).toEqual([{ comment: '' }, { comment: '' }]);
    const again = useFakeClock(app);
    again.restore();
  });

  it('is not restored by restore() of an earlier clock', async () => {
    const app = await create(platform);
    const first = useFakeClock(app);
    first.restore();
    const second = useFakeClock(app);
    first.restore();
    expect(() => useFakeClock(app)).toThrow('already has a fake clock');
    second.restore();
  });

  it('allows one clock for an application, which only advances', async () => {
    const app = await create(platform);
    const clock = useFakeClock(app);
    expect(() => useFakeClock(app)).toThrow('already has a fake clock');
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(await failureOf(clock.advance(ms))).toMatchObject({ code: 'invalid-argument' });
    }
    await clock.advance(0);
    clock.restore();
  });
});

describe.each(PLATFORMS)('%s: expectNoOpenStreams', (platform) => {
  it('lists the open streams', async () => {
    const app = await create(platform);
    const clock = useFakeClock(app);
    await expectNoOpenStreams(app);
    const stream = await streamOf(app, '/feed/pushed');
    await clock.advance(1_234);
    const error = await failureOf(expectNoOpenStreams(app, { timeout: 20 }));
    expect(error).toBeInstanceOf(AssertionError);
    expect(error.message).toMatch(
      /^Expected 0 open streams\. After 20 ms there are 1\n {2}stream \w+ of Feed\.pushed, open, for 1234 ms$/,
    );
    expect((await failureOf(expectOpenStreams(app, 2, { timeout: 20 }))).message).toMatch(
      /^Expected 2 open streams\. After 20 ms there are 1\n/,
    );
    stream.disconnect();
    await expectNoOpenStreams(app);
  });

  it('rejects in time while the fake timers of a test runner stand still', async () => {
    const app = await create(platform);
    const stream = await streamOf(app, '/feed/pushed');
    const { jest } = import.meta;
    jest.useFakeTimers();
    try {
      expect((await failureOf(expectNoOpenStreams(app, { timeout: 20 }))).message).toContain('After 20 ms there are 1');
    } finally {
      jest.useRealTimers();
    }
    stream.disconnect();
    await expectNoOpenStreams(app);
  });

  it('rejects when the application has no StreamingModule', async () => {
    class Bare {}
    const app: INestApplication = await NestFactory.create({ module: Bare }, { logger: false, abortOnError: false });
    apps.push(app);
    expect(await failureOf(expectNoOpenStreams(app))).toMatchObject({ code: 'module-missing' });
  });
});
