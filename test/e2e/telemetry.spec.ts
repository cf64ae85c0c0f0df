import { Controller, type INestApplication, NotFoundException, Param, Query } from '@nestjs/common';
import { SpanStatusCode, trace } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { MetricReader } from '@opentelemetry/sdk-metrics';
import {
  type BrokerStatus,
  ConnectedStream,
  Hub,
  InjectHub,
  InjectRuns,
  LastEventId,
  MemoryBroker,
  Runs,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { eventsUntil, hubOf, joined, NDJSON, publishAll, range, SSE } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';
import { type Histogram, useTelemetry } from '../support/telemetry.js';

const streams = new Recorder<StreamConnection>();

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('numbers')
  *numbers(@Query('to') to = '3') {
    yield* range(1, Number(to));
  }

  @Stream('missing', { format: 'ndjson' })
  missing() {
    throw new NotFoundException('nothing here');
  }

  @Sse('broken')
  *broken() {
    yield 'first';
    throw new TypeError('broken');
  }

  @Stream('silent', { openDelay: 1_000, format: 'ndjson' })
  silent(@ConnectedStream() stream: StreamConnection) {
    streams.add(stream);
  }

  @Stream('undecided')
  undecided(@ConnectedStream() stream: StreamConnection) {
    streams.add(stream);
  }

  @Stream('thrown', { format: 'ndjson' })
  thrown() {
    throw Object.create(null);
  }

  @Stream('pushed', { format: 'ndjson', queue: { items: 10 }, overflow: 'drop-newest' })
  pushed(@ConnectedStream() stream: StreamConnection) {
    for (let i = 0; i < 30; i++) {
      void stream.send('x'.repeat(65_000));
    }
    void stream.close();
  }

  @Sse('live')
  live(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }
}

/** The attributes of a stream over HTTP/1.1, whose path is named after its method. */
const attributesOf = (method: string, format?: string) => ({
  'nestjs_streaming.route': `Feed.${method}`,
  ...(format !== undefined && { 'nestjs_streaming.format': format }),
  'http.route': `/${method}`,
  'network.protocol.name': 'http',
  'network.protocol.version': '1.1',
});
const NUMBERS = attributesOf('numbers', 'ndjson');
const LIVE = attributesOf('live', 'sse');
/** A broker whose connection and whose appends a test controls. */
class RemoteBroker extends MemoryBroker {
  state: BrokerStatus = { connected: true, since: 1, behindMs: 0 };

  constructor(public held: Promise<void> | undefined) {
    super();
  }

  override async append(...args: Parameters<MemoryBroker['append']>) {
    await this.held;
    return super.append(...args);
  }

  status(): BrokerStatus {
    return this.state;
  }
}

const HUB = { 'nestjs_streaming.hub': 'feed' };
const CLOSE_CODE = 'nestjs_streaming.close_code';

/** Creates a span for every request, as the instrumentation of node:http does. */
const traceRequests = (over: Recorder) => (app: INestApplication) => {
  app.use((_request: unknown, response: NodeJS.EventEmitter, next: () => void) =>
    trace.getTracer('test').startActiveSpan('request', (span) => {
      response.once('close', () => {
        span.end();
        over.add('request');
      });
      next();
    }),
  );
};

describe.each(PLATFORMS)('%s: with the SDK of OpenTelemetry', (platform) => {
  const launch = useApps();
  const telemetry = useTelemetry();

  async function start(...readers: MetricReader[]) {
    const exported = telemetry(readers);
    const requests = new Recorder();
    const ended = new Recorder();
    const app = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { hooks: { onClose: (_stream, { code }) => ended.add(code) } },
      configure: traceRequests(requests),
    });
    return { ...app, exported, ended, requests, hub: hubOf(app) };
  }

  it('the activity of streams is counted once, however often it is collected', async () => {
    const { text, exported, ended } = await start();
    for (const to of [3, 5]) {
      await text(`/numbers?to=${to}`, NDJSON);
      await exported.points('chunks.sent');
    }
    await ended.count(2);

    expect(await exported.points('streams.opened')).toEqual([{ attributes: NUMBERS, value: 2 }]);
    expect(await exported.points('streams.open')).toEqual([{ attributes: NUMBERS, value: 0 }]);
    expect(await exported.points('streams.ended')).toEqual([
      { attributes: { ...NUMBERS, [CLOSE_CODE]: 'completed' }, value: 2 },
    ]);
    expect(await exported.points('chunks.sent')).toEqual([{ attributes: NUMBERS, value: 8 }]);
    expect(await exported.points('bytes.sent')).toEqual([{ attributes: NUMBERS, value: 16 }]);
    expect(await exported.points('chunks.dropped')).toEqual([]);
  });

  it('open streams are counted up to now', async () => {
    const { get, exported, ended, hub } = await start();
    const id = await hub.publish('before');
    const clients = [await get('/live'), await get('/live', { 'Last-Event-ID': id })] as const;
    await joined(hub, 2);
    await publishAll(hub, range(1, 10));
    await Promise.all(clients.map((client) => eventsUntil(client, 10)));

    const bytes = clients.reduce((sum, { body }) => sum + body.length, 0);
    expect(await exported.points('streams.open')).toEqual([{ attributes: LIVE, value: 2 }]);
    expect(await exported.points('streams.resumed')).toEqual([{ attributes: LIVE, value: 1 }]);
    expect(await exported.points('chunks.sent')).toEqual([{ attributes: LIVE, value: 20 }]);
    expect(await exported.points('bytes.sent')).toEqual([{ attributes: LIVE, value: bytes }]);
    expect(await exported.points('streams.duration')).toEqual([]);

    clients[0].disconnect();
    await ended.count(1);
    await hub.publish('after');
    await eventsUntil(clients[1], 11);
    expect(await exported.points('streams.open')).toEqual([{ attributes: LIVE, value: 1 }]);
    expect(await exported.points('chunks.sent')).toEqual([{ attributes: LIVE, value: 21 }]);
    expect(await exported.points('streams.ended')).toEqual([
      { attributes: { ...LIVE, [CLOSE_CODE]: 'client-closed' }, value: 1 },
    ]);
  });

  it('measurements between the last collection and the end of the application are not lost', async () => {
    const { get, exported, hub, close } = await start();
    const client = await get('/live', SSE);
    await joined(hub, 1);
    await hub.publish('last');
    await close();
    await client.closed();

    expect(await exported.points('streams.ended')).toEqual([
      { attributes: { ...LIVE, [CLOSE_CODE]: 'shutdown' }, value: 1 },
    ]);
    expect(await exported.points('bytes.sent')).toEqual([{ attributes: LIVE, value: client.body.length }]);
    expect(await exported.points('hub.published')).toEqual([{ attributes: HUB, value: 1 }]);
  });

  it('open streams of several applications in one process add up, until they close', async () => {
    const { get, exported, hub, close } = await start();
    const other = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    await Promise.all([get('/live'), get('/live'), other.get('/live')]);
    await Promise.all([joined(hub, 2), joined(hubOf(other), 1)]);
    await hub.publish('kept');
    const levels = async () => [
      await exported.points('streams.open'),
      await exported.points('hub.subscribers'),
      await exported.points('hub.history'),
    ];
    const each = (open: number, subscribers: number, history: number) => [
      [{ attributes: LIVE, value: open }],
      [{ attributes: HUB, value: subscribers }],
      [{ attributes: HUB, value: history }],
    ];
    expect(await levels()).toEqual(each(3, 3, 1));
    await other.close();
    expect(await levels()).toEqual(each(2, 2, 1));
    await close();
    expect(await levels()).toEqual(each(0, 0, 0));
  });

  it('a stream whose format is decided late is counted once as open and as resumed', async () => {
    const { get, exported, ended } = await start();
    const before = streams.seen.length;
    const client = await get('/undecided', { 'Last-Event-ID': '7' });
    const stream = (await streams.count(before + 1))[before] as StreamConnection;
    const undecided = attributesOf('undecided');
    const decided = attributesOf('undecided', 'ndjson');
    expect(await exported.points('streams.open')).toEqual([{ attributes: undecided, value: 1 }]);
    expect(await exported.points('streams.resumed')).toEqual([]);

    await stream.send({ n: 1 });
    await client.until('{"n":1}');
    expect(await exported.points('streams.open')).toEqual([
      { attributes: undecided, value: 0 },
      { attributes: decided, value: 1 },
    ]);
    await stream.close();
    await ended.count(1);
    expect(await exported.points('streams.open')).toEqual([
      { attributes: undecided, value: 0 },
      { attributes: decided, value: 0 },
    ]);
    expect(await exported.points('streams.resumed')).toEqual([{ attributes: decided, value: 1 }]);
  });

  it('the span of a stream records any value that was thrown', async () => {
    const { exported, ended, get } = await start();
    const client = await get('/thrown', { Connection: 'close' });
    await client.closed();
    await ended.count(1);
    const [span] = exported.spans.filter(({ name }) => name === 'stream Feed.thrown');
    expect(span?.status).toEqual({ code: SpanStatusCode.ERROR, message: '[Object: null prototype] {}' });
    expect(span?.attributes).toMatchObject({ 'error.type': '_OTHER' });
  });

  it('applications of one process add up', async () => {
    const { text, ended, exported } = await start();
    const others = new Recorder();
    const other = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { hooks: { onClose: (_stream, { code }) => others.add(code) } },
    });
    await text('/numbers', NDJSON);
    await other.text('/numbers', NDJSON);
    await Promise.all([ended.count(1), others.count(1)]);
    await other.close();

    expect(await exported.points('streams.opened')).toEqual([{ attributes: NUMBERS, value: 2 }]);
    expect(await exported.points('chunks.sent')).toEqual([{ attributes: NUMBERS, value: 6 }]);
  });

  it('dropped chunks are counted, and lagged records too', async () => {
    const { text, exported, ended } = await start();
    await text('/pushed');
    await ended.count(1);

    const attributes = attributesOf('pushed', 'ndjson');
    expect(await exported.points('chunks.dropped')).toEqual([{ attributes, value: 19 }]);
    expect(await exported.points('streams.lagged')).toEqual([{ attributes, value: 1 }]);
    const [span] = exported.spans.filter(({ name }) => name === 'stream Feed.pushed');
    expect(span?.attributes).toMatchObject({
      'nestjs_streaming.stream.chunks': 12,
      'nestjs_streaming.stream.dropped': 19,
      'nestjs_streaming.stream.lagged': 1,
    });
  });

  it('the duration of a stream has the class of its error only if the stream failed', async () => {
    const { get, text, exported, ended } = await start();
    await text('/numbers', NDJSON);
    await (await get('/broken', { Connection: 'close' })).closed();
    await ended.count(2);

    const measured = await exported.points<Histogram>('streams.duration');
    expect(measured.map(({ attributes }) => attributes)).toEqual([
      NUMBERS,
      { ...attributesOf('broken', 'sse'), 'error.type': 'TypeError' },
    ]);
    expect((await exported.points('streams.ended')).map(({ attributes }) => attributes)).toEqual([
      { ...NUMBERS, [CLOSE_CODE]: 'completed' },
      { ...attributesOf('broken', 'sse'), [CLOSE_CODE]: 'error' },
    ]);
  });

  it('a route is identified by its path with prefix and parameters, unless it has several paths', async () => {
    @Controller({ path: 'users/:user', version: '1' })
    class Users {
      @Stream('letters/:letter', { format: 'ndjson' })
      *letters(@Param('letter') letter: string) {
        yield letter;
      }

      @Stream(['here', 'there'], { format: 'ndjson' })
      *both() {
        yield 1;
      }
    }
    const exported = telemetry();
    const ended = new Recorder();
    const { text } = await launch(platform, {
      controllers: [Users],
      options: { hooks: { onClose: (_stream, { code }) => ended.add(code) } },
      configure: (app) => void app.setGlobalPrefix('api').enableVersioning(),
    });
    await text('/api/v1/users/7/letters/a');
    await text('/api/v1/users/8/letters/b');
    await text('/api/v1/users/9/here');
    await ended.count(3);

    expect(
      (await exported.points('streams.opened')).map(({ attributes, value }) => [attributes['http.route'], value]),
    ).toEqual([
      ['/api/v1/users/:user/letters/:letter', 2],
      [undefined, 1],
    ]);
  });

  it('runs are measured, and have spans in the traces of their first requests, without ids and owners', async () => {
    const exported = telemetry();
    const go = deferred();
    @Controller()
    class Answers {
      constructor(@InjectRuns('answers') readonly runs: Runs) {}

      @Stream('personal', { format: 'ndjson' })
      start(@Query('fails') fails: string) {
        return this.runs.start(
          `ada@example.com ${fails}`,
          async function* () {
            yield 'one';
            await go.promise;
            if (fails) {
              throw new TypeError('secret of ada@example.com');
            }
          },
          { owner: 'ada@example.com' },
        );
      }

      @Stream('route', { format: 'ndjson', onDisconnect: 'detach' })
      route() {
        return go.promise.then(() => ['x']);
      }
    }
    const runs = StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' });
    const app = await launch(platform, { controllers: [Answers], imports: [runs] });
    const request = trace.getTracer('test').startSpan('request');
    const left = await app.get('/personal');
    await left.until('"one"');
    const failing = fetch(app.url('/personal?fails=1')).then((response) => response.text());
    const ofRoute = fetch(app.url('/route')).then((response) => response.text());
    left.disconnect();
    const answers = { 'nestjs_streaming.runs': 'answers' };
    const route = { 'nestjs_streaming.runs': 'Answers.route' };
    while (
      (await exported.points('runs.running')).length < 2 ||
      (await exported.points('runs.detached'))[0]?.value !== 1
    ) {
      await turns();
    }

    expect(await exported.points('runs.running')).toEqual([
      { attributes: answers, value: 2 },
      { attributes: route, value: 1 },
    ]);
    go.resolve();
    await Promise.allSettled([failing, ofRoute]);
    while (exported.spans.filter(({ name }) => name.startsWith('run ')).length < 3) {
      await turns();
    }
    request.end();

    const status = (attributes: object, is: string) => ({ ...attributes, 'nestjs_streaming.run.status': is });
    expect(await exported.points('runs.started')).toEqual([
      { attributes: answers, value: 2 },
      { attributes: route, value: 1 },
    ]);
    expect(await exported.points('runs.ended')).toEqual(
      expect.arrayContaining([
        { attributes: status(answers, 'completed'), value: 1 },
        { attributes: status(answers, 'failed'), value: 1 },
        { attributes: status(route, 'completed'), value: 1 },
      ]),
    );
    expect(await exported.points('runs.chunks')).toEqual([
      { attributes: answers, value: 2 },
      { attributes: route, value: 1 },
    ]);
    expect(await exported.points('runs.bytes')).toEqual([
      { attributes: answers, value: 6 },
      { attributes: route, value: 1 },
    ]);
    expect((await exported.points('runs.running')).map(({ value }) => value)).toEqual([0, 0]);
    const spans = exported.spans.filter(({ name }) => name.startsWith('run '));
    expect(spans.map(({ name }) => name).sort()).toEqual(['run Answers.route', 'run answers', 'run answers']);
    const linked = exported.spans.filter(({ name }) => name.startsWith('stream ')).flatMap(({ links }) => links);
    // Each stream belongs to a request of its own, and shows another run.
    expect(linked.map(({ context }) => context.spanId).sort()).toEqual(
      spans.map((span) => span.spanContext().spanId).sort(),
    );
    const failed = spans.find(({ attributes }) => attributes['nestjs_streaming.run.status'] === 'failed');
    expect(failed?.status.code).toBe(SpanStatusCode.ERROR);
    expect(failed?.attributes).toMatchObject({ 'nestjs_streaming.run.chunks': 1, 'nestjs_streaming.run.bytes': 3 });
    expect(JSON.stringify(spans.map(({ attributes, events, status: of }) => [attributes, events, of]))).not.toMatch(
      /ada|secret/,
    );
  });

  it('no attribute of a measurement contains the topic of a hub or data of a client', async () => {
    const { get, exported, hub } = await start();
    const client = await get('/live?user=user-17', { 'Last-Event-ID': 'unknown-id' });
    await joined(hub, 1);
    await publishAll(hub, range(1, 2), { topic: 'topic-17' });
    await eventsUntil(client, 2);

    const names = Object.keys(await exported.units()).map((name) => name.replace('nestjs_streaming.', ''));
    const points = (await Promise.all(names.map((name) => exported.points<unknown>(name)))).flat();
    expect(new Set(points.flatMap(({ attributes }) => Object.keys(attributes)))).toEqual(
      new Set([...Object.keys(LIVE), 'nestjs_streaming.hub']),
    );
    expect(points.map(({ attributes }) => JSON.stringify(attributes)).join()).not.toMatch(/17|unknown/);
  });

  it('times are in seconds, and the time to first byte is recorded as soon as that byte is sent', async () => {
    const { app, get, exported, ended } = await start();
    const clock = useFakeClock(app);
    const before = streams.seen.length;
    const client = await get('/silent');
    const stream = (await streams.count(before + 1))[before] as StreamConnection;
    await clock.advance(1_000);
    await client.until('\r\n\r\n');

    const attributes = attributesOf('silent', 'ndjson');
    const times = { attributes, value: expect.objectContaining({ count: 1, sum: 1, max: 1 }) };
    expect(await exported.points<Histogram>('streams.time_to_first_byte')).toEqual([times]);
    expect(await exported.points<Histogram>('streams.duration')).toEqual([]);

    await clock.advance(89_000);
    await stream.close();
    await ended.count(1);
    const duration = { attributes, value: expect.objectContaining({ count: 1, sum: 90, max: 90 }) };
    expect(await exported.points<Histogram>('streams.duration')).toEqual([duration]);
    clock.restore();
  });

  it('hubs report their subscribers, published events and history', async () => {
    const { get, exported, hub } = await start();
    await publishAll(hub, range(1, 4));
    await get('/live');
    await joined(hub, 1);

    const attributes = HUB;
    expect(await exported.points('hub.subscribers')).toEqual([{ attributes, value: 1 }]);
    expect(await exported.points('hub.published')).toEqual([{ attributes, value: 4 }]);
    expect(await exported.points('hub.history')).toEqual([{ attributes, value: 4 }]);
  });

  it('hubs report what waits for their broker, what it has refused, and whether it is connected', async () => {
    const exported = telemetry();
    const held = deferred();
    const broker = new RemoteBroker(held.promise);
    const { app, close } = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed', broker })],
    });
    const hub = hubOf({ app });
    const figures = () =>
      Promise.all(
        ['appends.pending', 'appends.failed', 'published', 'broker.connected', 'broker.behind'].map(async (name) =>
          (await exported.points(`hub.${name}`)).map(({ attributes, value }) => {
            expect(attributes).toEqual(HUB);
            return value;
          }),
        ),
      );
    const published = publishAll(hub, [1, 2]);
    await turns(1);
    expect(await figures()).toEqual([[2], [], [], [1], [0]]);

    broker.state = { connected: false, since: 17, behindMs: 2_500 };
    held.reject(new Error('The store is down'));
    await expect(published).rejects.toThrow('The store is down');
    expect(await figures()).toEqual([[0], [2], [], [0], [2.5]]);

    broker.state = { connected: true, since: 18, behindMs: 10 };
    broker.held = undefined;
    await hub.publish(3);
    expect(await figures()).toEqual([[0], [2], [1], [1], [0.01]]);

    await close();
    expect(await figures()).toEqual([[0], [2], [1], [0], [0]]);
  });

  it('instruments have units', async () => {
    const { get, text, exported, ended, hub } = await start();
    const id = await hub.publish('before');
    await text('/pushed');
    await get('/live', { 'Last-Event-ID': id });
    await ended.count(1);
    await joined(hub, 1);

    expect(await exported.units()).toEqual({
      'nestjs_streaming.streams.opened': '{stream}',
      'nestjs_streaming.streams.open': '{stream}',
      'nestjs_streaming.streams.ended': '{stream}',
      'nestjs_streaming.streams.resumed': '{stream}',
      'nestjs_streaming.streams.lagged': '{notice}',
      'nestjs_streaming.streams.time_to_first_byte': 's',
      'nestjs_streaming.streams.duration': 's',
      'nestjs_streaming.chunks.sent': '{chunk}',
      'nestjs_streaming.chunks.dropped': '{chunk}',
      'nestjs_streaming.bytes.sent': 'By',
      'nestjs_streaming.hub.subscribers': '{subscriber}',
      'nestjs_streaming.hub.published': '{event}',
      'nestjs_streaming.hub.history': '{event}',
      'nestjs_streaming.hub.appends.pending': '{event}',
    });
  });

  it('Prometheus reads the metrics by conventional names', async () => {
    const prometheus = new PrometheusExporter({ preventServerStart: true });
    const { get, text, ended, hub } = await start(prometheus);
    const id = await hub.publish('before');
    await text('/pushed');
    await get('/live', { 'Last-Event-ID': id });
    await ended.count(1);
    await joined(hub, 1);

    const { resourceMetrics } = await prometheus.collect();
    const page = new PrometheusSerializer().serialize(resourceMetrics);
    expect(page.match(/(?<=# TYPE )nestjs_streaming.*/g)?.sort()).toEqual([
      'nestjs_streaming_bytes_sent_total counter',
      'nestjs_streaming_chunks_dropped_total counter',
      'nestjs_streaming_chunks_sent_total counter',
      'nestjs_streaming_hub_appends_pending gauge',
      'nestjs_streaming_hub_history gauge',
      'nestjs_streaming_hub_published_total counter',
      'nestjs_streaming_hub_subscribers gauge',
      'nestjs_streaming_streams_duration histogram',
      'nestjs_streaming_streams_ended_total counter',
      'nestjs_streaming_streams_lagged_total counter',
      'nestjs_streaming_streams_open gauge',
      'nestjs_streaming_streams_opened_total counter',
      'nestjs_streaming_streams_resumed_total counter',
      'nestjs_streaming_streams_time_to_first_byte histogram',
    ]);
    expect(page).toMatch(
      /^nestjs_streaming_streams_open\{nestjs_streaming_route="Feed.live",nestjs_streaming_format="sse",http_route="\/live",network_protocol_name="http",network_protocol_version="1.1".*\} 1$/m,
    );
  });

  it('a stream is a span in the trace of its request', async () => {
    const { exported, ended, requests, get } = await start();
    const client = await get('/numbers', { ...NDJSON, 'Last-Event-ID': 'x', Connection: 'close' });
    await client.closed();
    await Promise.all([ended.count(1), requests.count(1)]);

    const stream = exported.spans.find(({ name }) => name === 'stream Feed.numbers');
    const request = exported.spans.find(({ name }) => name === 'request');
    expect(stream?.parentSpanContext?.spanId).toBe(request?.spanContext().spanId);
    expect(stream?.spanContext().traceId).toBe(request?.spanContext().traceId);
    expect(stream?.attributes).toEqual({
      ...NUMBERS,
      'nestjs_streaming.stream.id': expect.stringMatching(/^[0-9a-z]+$/),
      [CLOSE_CODE]: 'completed',
      'nestjs_streaming.stream.chunks': 3,
      'nestjs_streaming.stream.bytes': 6,
      'nestjs_streaming.stream.dropped': 0,
      'nestjs_streaming.stream.lagged': 0,
      'nestjs_streaming.stream.resumed': true,
    });
    expect(stream?.events.map(({ name }) => name)).toEqual(['first byte']);
    expect(stream?.status).toEqual({ code: SpanStatusCode.UNSET });
  });

  it('the span of a stream ends with the stream', async () => {
    const { exported, ended, get, hub } = await start();
    const client = await get('/live');
    await joined(hub, 1);
    await hub.publish(1);
    await eventsUntil(client, 1);
    expect(exported.spans).toEqual([]);

    client.disconnect();
    await ended.count(1);
    const [span] = exported.spans.filter(({ name }) => name === 'stream Feed.live');
    expect(span?.attributes).toMatchObject({ [CLOSE_CODE]: 'client-closed', 'nestjs_streaming.stream.chunks': 1 });
  });

  it.each([
    ['after its head', '/broken', 'Feed.broken', 'TypeError', 'broken', ['first byte', 'exception']],
    ['before its head', '/missing', 'Feed.missing', 'NotFoundException', 'nothing here', ['exception']],
  ])('the span of a stream that fails %s records the error', async (_, path, route, type, message, events) => {
    const { exported, ended, get } = await start();
    const client = await get(path, { Connection: 'close' });
    await client.closed();
    await ended.count(1);

    const [span] = exported.spans.filter(({ name }) => name === `stream ${route}`);
    expect(span?.status).toEqual({ code: SpanStatusCode.ERROR, message });
    expect(span?.attributes).toMatchObject({ [CLOSE_CODE]: 'error', 'error.type': type });
    expect(span?.events.map(({ name }) => name)).toEqual(events);
    expect(span?.events.at(-1)?.attributes).toMatchObject({ 'exception.type': type, 'exception.message': message });
  });
});

describe.each(PLATFORMS)('%s: without an SDK', (platform) => {
  const launch = useApps();
  const telemetry = useTelemetry();

  it('streams work unchanged', async () => {
    const { text, registry } = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    expect(await text('/numbers', NDJSON)).toBe('1\n2\n3\n');
    expect(registry.snapshot().totals.chunks).toBe(3);
  });

  it('streams that begin once the application has set up one have spans', async () => {
    const ended = new Recorder();
    const { text } = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { hooks: { onClose: () => ended.add('stream') } },
    });
    await text('/numbers', NDJSON);
    await ended.count(1);
    const exported = telemetry([]);
    await text('/numbers', NDJSON);
    await ended.count(2);

    expect(exported.spans.map(({ name }) => name)).toEqual(['stream Feed.numbers']);
  });
});
