import { setTimeout as pause } from 'node:timers/promises';
import { Controller, Query } from '@nestjs/common';
import { WebSocket } from 'ws';
import { connect } from '../../lib/client/index.js';
import {
  Hub,
  InjectHub,
  InjectRuns,
  LastEventId,
  Runs,
  Stream,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { hubOf, joined } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { WebSocketClient } from '../support/websocket-client.js';

const EVENTS = 'events.v1+json';
const VISIBLE = [EVENTS, 'heartbeats'];
const BEAT_MS = 15_000;

let go: ReturnType<typeof deferred<void>>;

beforeEach(() => {
  go = deferred();
});

async function* slowly(): AsyncGenerator<string> {
  yield 'one';
  await go.promise;
  yield 'two';
}

@Controller()
class Feed {
  constructor(
    @InjectHub('feed') private readonly hub: Hub,
    @InjectRuns('answers') private readonly runs: Runs<string>,
  ) {}

  @Stream('generator')
  generator() {
    return slowly();
  }

  @Stream('text', { format: 'text' })
  text() {
    return slowly();
  }

  @Stream('silent', { heartbeat: false })
  silent() {
    return slowly();
  }

  @Stream('run')
  run() {
    return this.runs.start('one', slowly);
  }

  @Stream('hub')
  events(@LastEventId() after?: string, @Query('topic') topic?: string) {
    return this.hub.subscribe({ after, topic });
  }
}

describe.each(PLATFORMS)('%s: a WebSocket with the subprotocol heartbeats', (platform) => {
  const launch = useApps();
  const start = (options: StreamingModuleOptions = {}) =>
    launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' }), StreamingModule.registerRuns({ name: 'answers' })],
      options: { websocket: true, ...options },
    });

  it.each(['generator', 'text', 'run'])('receives the message {} from a silent %s', async (path) => {
    const app = await start();
    const clock = useFakeClock(app.app);
    const client = await WebSocketClient.open(app.url(`/${path}`), VISIBLE);
    expect(client.socket.protocol).toBe(EVENTS);
    await client.messages.count(1);

    await clock.advance(BEAT_MS - 1_000);
    expect(client.messages.seen).toHaveLength(1);
    await clock.advance(1_000);
    await client.messages.count(2);
    await clock.advance(BEAT_MS);
    await client.messages.count(3);
    go.resolve();

    const messages = (await client.all()).map((each) => String(each).replace(/"id":"[^"]+",/, ''));
    expect(messages).toEqual(['{"data":"one"}', '{}', '{}', '{"data":"two"}']);
    clock.restore();
  });

  it('receives {} from a hub, unless it receives its position', async () => {
    const app = await start();
    const clock = useFakeClock(app.app);
    const hub = hubOf(app);
    const all = await WebSocketClient.open(app.url('/hub'), VISIBLE);
    const quiet = await WebSocketClient.open(app.url('/hub?topic=quiet'), VISIBLE);
    await joined(hub, 2);
    const id = await hub.publish(1, { topic: 'loud' });
    await all.messages.count(2);

    await clock.advance(BEAT_MS);
    await all.messages.count(3);
    await quiet.messages.count(2);
    const second = await hub.publish(2, { topic: 'quiet' });
    await all.messages.count(4);
    await quiet.messages.count(3);

    const beginning = /\.0","type":"position","data":\{\}\}$/;
    expect(all.messages.seen).toEqual([
      expect.stringMatching(beginning),
      `{"id":"${id}","data":1}`,
      '{}',
      `{"id":"${second}","data":2}`,
    ]);
    expect(quiet.messages.seen).toEqual([
      expect.stringMatching(beginning),
      `{"id":"${id}","type":"position","data":{}}`,
      `{"id":"${second}","data":2}`,
    ]);
    all.socket.terminate();
    quiet.socket.terminate();
    clock.restore();
  });

  it.each<[string, string, string[]]>([
    ['that does not offer it', '/generator', [EVENTS]],
    ['that offers no subprotocol', '/generator', []],
    ['of a route with heartbeat: false', '/silent', VISIBLE],
  ])('is not the case for a client %s', async (_which, path, protocols) => {
    const app = await start();
    const clock = useFakeClock(app.app);
    const client = await WebSocketClient.open(app.url(path), protocols);
    await client.messages.count(1);

    await clock.advance(BEAT_MS);
    go.resolve();

    expect(await client.all()).toHaveLength(2);
    clock.restore();
  });

  it.each([
    ['alone', ['heartbeats']],
    ['next to an id alone', ['heartbeats', 'last-event-id.a']],
  ])('is refused if it is offered %s', async (_how, protocols) => {
    const app = await start();

    expect(await WebSocketClient.refusal(app.url('/generator'), protocols)).toMatchObject({
      status: 400,
      body: expect.stringContaining(`Unknown subprotocol: there is ${EVENTS}, or none`),
    });
  });

  it('lets a client find a connection that is half-open, and resume', async () => {
    const app = await start({ heartbeat: 100 });
    const hub = hubOf(app);
    const proxy = await TcpProxy.start(app.port);
    const states: string[] = [];
    const url = `http://127.0.0.1:${proxy.port}/hub`;
    const stream = connect<number>(url, { as: 'ws', WebSocket, idle: 3_000, retry: { base: 1 } });
    stream.on('state', (state, error) => states.push(`${state} ${(error as { code?: string })?.code ?? ''}`.trim()));
    const first = stream.next();
    await joined(hub, 1);
    await hub.publish(1);
    expect(await first).toMatchObject({ value: { data: 1 } });

    proxy.drop();
    await hub.publish(2);

    expect(await stream.next()).toMatchObject({ value: { data: 2 } });
    expect(states).toEqual(['connecting', 'open', 'waiting idle', 'connecting', 'open']);
    stream.close();
    await proxy.stop();
  });

  it('lets a client keep a connection that is quiet for longer than its option idle', async () => {
    const app = await start({ heartbeat: 100 });
    const hub = hubOf(app);
    const states: string[] = [];
    const stream = connect<number>(app.url('/hub'), { as: 'ws', WebSocket, idle: 3_000 });
    stream.on('state', (state) => states.push(state));
    const first = stream.next();
    await joined(hub, 1);

    await pause(4_000);
    await hub.publish(1);

    expect(await first).toMatchObject({ value: { data: 1 } });
    expect(states).toEqual(['connecting', 'open']);
    stream.close();
  });
});
