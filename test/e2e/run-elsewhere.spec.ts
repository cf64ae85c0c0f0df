import { Controller, Get, Param } from '@nestjs/common';
import { EventSource } from 'eventsource';
import { WebSocket } from 'ws';
import { uiMessages } from '../../lib/ai/index.js';
import { type ConnectOptions, connect } from '../../lib/client/index.js';
import {
  type Broker,
  getRunsToken,
  InjectRuns,
  LastEventId,
  MemoryBroker,
  type Runs,
  Stream,
  StreamingModule,
} from '../../lib/index.js';
import { RedisBroker } from '../../lib/redis/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { RedisServer } from '../support/redis-server.js';
import { type RunningApp, useApps } from '../support/running.js';
import { describeWith } from '../support/tools.js';
import { WebSocketClient } from '../support/websocket-client.js';

const RUNS = StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' });
const SOON = { grace: 0, retry: 10 };
/** The client waits for the server, and not for its own delays. */
const FAST: ConnectOptions = { retry: { base: 1, max: 1 }, WebSocket };
const MESSAGE = 'The server is shutting down, and the run goes on: join it again';

let go: Deferred;

@Controller('answers')
class Answers {
  constructor(@InjectRuns('answers') private readonly runs: Runs<string>) {}

  @Get(':id')
  @Stream({ format: ['sse', 'ndjson'] })
  view(@Param('id') id: string, @LastEventId() after?: string) {
    return this.runs.join(id, { after });
  }

  @Get('events/:id')
  @Stream({ format: 'sse', events: 'explicit' })
  async *events(@Param('id') id: string, @LastEventId() after?: string) {
    yield* await this.runs.join(id, { after });
  }

  @Get('data/:id')
  @Stream({ format: 'sse' })
  async *data(@Param('id') id: string) {
    for await (const { data } of await this.runs.join(id)) yield data;
  }

  @Get('ui/:id')
  @Stream({ format: uiMessages })
  ui(@Param('id') id: string) {
    return this.runs.join(id);
  }
}

beforeEach(() => {
  go = deferred();
});

afterEach(() => go.resolve());

/** Starts two processes, and a run in the first. */
async function start(
  launch: (platform: Platform, setup: object) => Promise<RunningApp>,
  platform: Platform,
  brokerOf: () => Broker,
  shutdown: object = SOON,
) {
  const setup = () => ({
    controllers: [Answers],
    imports: [RUNS],
    options: { broker: brokerOf(), websocket: true, shutdown, openDelay: 3_600_000 },
  });
  const [producer, other] = [await launch(platform, setup()), await launch(platform, setup())];
  const runs = producer.app.get<Runs<unknown>>(getRunsToken('answers'));
  const run = (chunks: readonly unknown[] = ['one', 'two']) =>
    runs.start('a', async function* () {
      yield* chunks;
      await go.promise;
      yield 'three';
    });
  return { producer, other, run };
}

/** Closes the process of a viewer while the run goes on in the other one. The viewer must receive each chunk once. */
async function viewOverRestart(
  { producer, other, run }: Awaited<ReturnType<typeof start>>,
  path: string,
  as: 'sse' | 'ws',
): Promise<void> {
  await run();
  let app = other;
  let closed: Promise<void> | undefined;
  const items: unknown[] = [];
  const stream = connect(() => app.url(path), { ...FAST, as });
  stream.on('state', (state) => state === 'waiting' && go.resolve());
  for await (const { data } of stream) {
    items.push(data);
    if (data === 'two') {
      // Not waited for: the client has to be reading when the end comes.
      closed = other.close();
      app = producer;
    }
  }
  await closed;
  expect(items).toEqual(['one', 'two', 'three']);
}

describe.each(PLATFORMS)(
  '%s: the viewer of a run that goes on in another process, when its own process closes,',
  (platform) => {
    const launch = useApps();
    const onMemory = (shutdown?: object) => {
      const broker = new MemoryBroker();
      return start(launch, platform, () => broker, shutdown);
    };

    it.each(['sse', 'ws'] as const)('comes back with connect() over %s, and receives each chunk once', async (as) => {
      await viewOverRestart(await onMemory(), '/answers/a', as);
    });

    it('comes back with connect() if its route passes the events of the run on', async () => {
      await viewOverRestart(await onMemory(), '/answers/events/a', 'sse');
    });

    it('receives a shutdown with retry, and a clean end, as Server-Sent Events', async () => {
      const { other, run } = await onMemory();
      await run();
      const client = await other.get('/answers/a', { Accept: 'text/event-stream' });
      await client.until('two');
      await other.close();
      await client.closed();
      expect(client.body.replace(/^id: .*\n/gm, '').replace(/retry: \d+/, 'retry: <ms>')).toBe(
        'data: one\n\ndata: two\n\nevent: shutdown\nretry: <ms>\ndata: {}\n\n',
      );
      expect(client.complete).toBe(true);
    });

    it('receives a shutdown with retry, and the close code 1001, as events over a WebSocket', async () => {
      const { other, run } = await onMemory();
      await run();
      const client = await WebSocketClient.open(other.url('/answers/a'), ['events.v1+json']);
      await client.messages.count(2);
      await other.close();
      expect((await client.closed).code).toBe(1001);
      expect((await client.json(3)).slice(2)).toEqual([{ type: 'shutdown', retry: expect.any(Number), data: {} }]);
    });

    it('is asked to come back also if it has received no chunk', async () => {
      const { other, run } = await onMemory();
      await run([]);
      const client = await other.get('/answers/a', { Accept: 'text/event-stream' });
      while (other.registry.size === 0) {
        await new Promise(setImmediate);
      }
      await other.close();
      await client.closed();
      expect(client.head).toContain('HTTP/1.1 200 OK');
      expect(client.body).toMatch(/^event: shutdown\nretry: \d+\ndata: \{\}\n\n$/);
    });

    it.each([
      ['its format has no ids', '/answers/a', 'application/x-ndjson', SOON],
      ['its route sends no ids', '/answers/data/a', 'text/event-stream', SOON],
      ['the server sends no retry', '/answers/a', 'text/event-stream', { grace: 0, retry: false }],
    ])('receives an error, and is cut off, if %s', async (_, path, Accept, shutdown) => {
      const { other, run } = await onMemory(shutdown);
      await run();
      const client = await other.get(path, { Accept });
      await client.until('two');
      await other.close();
      await client.closed();
      expect(client.body).toContain(JSON.stringify({ statusCode: 503, message: MESSAGE }));
      expect(client.complete).toBe(false);
    });

    it('receives an error in the format of an AI client', async () => {
      const { other, run } = await onMemory();
      await run([{ type: 'start' }]);
      const client = await other.get('/answers/ui/a');
      await client.until('start');
      await other.close();
      await client.closed();
      expect(client.body).toContain(`"errorText":${JSON.stringify(MESSAGE)}`);
      expect(client.body).not.toContain('shutdown"');
    });

    it('comes back as an EventSource, and receives each chunk once and no error record', async () => {
      const { producer, other, run } = await onMemory();
      await run();
      let app = other;
      const seen = new Recorder();
      const source = new EventSource('http://127.0.0.1/answers/a', {
        fetch: (url, init) => fetch(app.url(new URL(url).pathname), init),
      });
      source.addEventListener('message', ({ data }) => seen.add(data));
      source.addEventListener('error', (event) => 'data' in event && seen.add(String(event.data)));
      await seen.count(2);
      const closed = other.close();
      app = producer;
      await closed;
      go.resolve();
      expect(await seen.count(3)).toEqual(['one', 'two', 'three']);
      source.close();
    });
  },
);

describeWith('redis-server')(
  'With Redis, the viewer of a run that goes on in another process, when its own process closes,',
  () => {
    const launch = useApps();
    let server: RedisServer;
    beforeAll(async () => {
      server = await RedisServer.start();
    });
    afterAll(() => server.stop());

    it.each(['sse', 'ws'] as const)('comes back with connect() over %s, and receives each chunk once', async (as) => {
      const brokerOf = (): Broker => new RedisBroker({ url: server.url, prefix: as });
      await viewOverRestart(await start(launch, 'express', brokerOf), '/answers/a', as);
    });
  },
);
