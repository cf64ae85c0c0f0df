import { Controller } from '@nestjs/common';
import { WebSocket } from 'ws';
import { uiMessages } from '../../lib/ai/index.js';
import { connect } from '../../lib/client/index.js';
import {
  event,
  Hub,
  InjectHub,
  InjectRuns,
  LastEventId,
  Runs,
  Sse,
  Stream,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { hubOf, joined } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { eventually } from '../support/transports.js';
import { WebSocketClient } from '../support/websocket-client.js';

const NEVER = new Promise<never>(() => undefined);
const MAX_MS = 60_000;
const RETRY = /event: shutdown\nretry: (\d+)\ndata: \{\}\n\n$/;

@Controller()
class Feed {
  constructor(
    @InjectHub('feed') private readonly hub: Hub<number>,
    @InjectRuns('answers') private readonly runs: Runs<unknown>,
  ) {}

  @Stream('ids', { format: ['sse', 'ndjson'] })
  async *ids() {
    yield event({ id: '1', data: 'x' });
    await NEVER;
  }

  @Sse('none')
  async *none() {
    yield 'x';
    await NEVER;
  }

  @Stream('hub', { format: ['sse', 'ndjson'] })
  events(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Sse('run')
  run() {
    return this.runs.start('silent', async function* () {
      await NEVER;
      yield 1;
    });
  }

  @Stream('chat', { format: uiMessages })
  chat() {
    return this.runs.start('chat', async function* () {
      yield { type: 'start' };
      await NEVER;
    });
  }
}

describe.each(PLATFORMS)('%s: a stream that is closed at maxDuration', (platform) => {
  const launch = useApps();
  const start = async (options: StreamingModuleOptions = {}) => {
    const app = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' }), StreamingModule.registerRuns({ name: 'answers' })],
      options: { websocket: true, maxDuration: MAX_MS, heartbeat: false, ...options },
    });
    return { ...app, clock: useFakeClock(app.app), hub: hubOf<number>(app) };
  };

  it.each([
    ['has sent an id', '/ids', /^id: 1\ndata: x\n\n$/],
    ['belongs to a hub', '/hub', /^event: position\nid: \S+\ndata: \{\}\n\n$/],
    ['belongs to a run', '/run', /^$/],
  ])('asks an SSE client to come back if it %s', async (_why, path, before) => {
    const app = await start();
    const client = await app.get(path, { Accept: 'text/event-stream' });
    await eventually(() => app.registry.size === 1);
    // The default of openDelay.
    await app.clock.advance(1_000);
    await client.until('\r\n\r\n');

    await app.clock.advance(MAX_MS);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(client.complete).toBe(true);
    expect(client.body.replace(RETRY, '')).toMatch(before);
    const retry = Number(RETRY.exec(client.body)?.[1]);
    // The default of `shutdown.retry`, ± 50 %.
    expect(retry).toBeGreaterThanOrEqual(1_500);
    expect(retry).toBeLessThanOrEqual(4_500);
  });

  it('asks a WebSocket client with events.v1+json to come back', async () => {
    const app = await start({ shutdown: { retry: 2, grace: 0 } });
    const client = await WebSocketClient.open(app.url('/ids'), ['events.v1+json']);
    const plain = await WebSocketClient.open(app.url('/ids'));
    await client.messages.count(1);
    await plain.messages.count(1);

    await app.clock.advance(MAX_MS);

    expect(await client.all()).toEqual([
      '{"id":"1","data":"x"}',
      expect.stringMatching(/^\{"type":"shutdown","retry":[123],"data":\{\}\}$/),
    ]);
    expect(await plain.all()).toEqual(['x']);
    expect(await client.closed).toEqual({ code: 1001, reason: 'deadline' });
  });

  it.each<[string, string, string, RegExp, StreamingModuleOptions]>([
    ['has no ids', '/none', 'text/event-stream', /^data: x\n\n$/, {}],
    ['has no ids in its format', '/ids', 'application/x-ndjson', /^"x"\n$/, {}],
    [
      'has the format of an AI protocol',
      '/chat',
      '*/*',
      /^data: \{"type":"start"\}\n\n(data: \{"type":"error",.*\}\n\n)?(data: \[DONE\]\n\n)?$/,
      {},
    ],
    ['has shutdown.retry: false', '/ids', 'text/event-stream', /^id: 1\ndata: x\n\n$/, { shutdown: { retry: false } }],
  ])('sends nothing more if it %s', async (_why, path, Accept, body, options) => {
    const app = await start(options);
    const client = await app.get(path, { Accept });
    await client.until(/x|start/);

    await app.clock.advance(MAX_MS);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(client.body).toMatch(body);
  });

  it.each(['sse', 'ws'] as const)('of a hub is resumed by a client over %s', async (as) => {
    const app = await start({ shutdown: { retry: 2, grace: 0 } });
    const stream = connect<number>(app.url('/hub'), { as, WebSocket, retry: { base: 1 } });
    const first = stream.next();
    await joined(app.hub, 1);
    await app.hub.publish(1);
    expect(await first).toMatchObject({ value: { data: 1 } });
    const second = stream.next();

    await app.clock.advance(MAX_MS);
    await app.hub.publish(2);

    expect(await second).toMatchObject({ value: { data: 2 } });
    stream.close();
  });

  it('without ids is over for a client', async () => {
    const app = await start();
    const stream = connect(app.url('/none'));
    expect(await stream.next()).toMatchObject({ value: { data: 'x' } });
    const end = stream.next();

    await app.clock.advance(MAX_MS);

    expect(await end).toEqual({ done: true, value: undefined });
  });
});
