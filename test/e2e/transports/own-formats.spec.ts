import { Controller, HttpCode, HttpException, Post, RequestMethod } from '@nestjs/common';
import {
  ConnectedStream,
  defineFormat,
  type Hub,
  InjectHub,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../../lib/index.js';
import { PLATFORMS } from '../../support/app.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { hubOf, joined, publishAll } from '../../support/hub.js';
import { turns, useApps } from '../../support/running.js';
import { expectEnd, useFeeds } from '../../support/transports.js';
import { WebSocketClient } from '../../support/websocket-client.js';

import.meta.jest.setTimeout(60_000);

/** Lines of JSON that count the records of one stream, with truncate: false. */
function numbered(seen: unknown[] = []) {
  return defineFormat<unknown>({
    name: 'numbered',
    mediaTypes: ['application/x-ndjson'],
    headers: { 'X-Protocol': 'numbered/1' },
    status: 203,
    truncate: false,
    perStream: () => {
      let n = 0;
      const record = (value: object): string => `${JSON.stringify({ n: n++, ...value })}\n`;
      return {
        open: () => record({ open: true }),
        encode: (value) => record({ value }),
        close: () => record({ close: true }),
        error: ({ statusCode }, type, error) => {
          seen.push(error);
          return record({ [type]: statusCode });
        },
      };
    },
  });
}

/** The record of `open`, as drivers receive it that separate it from the first chunk: over HTTP, it precedes that chunk. */
const OPEN = { n: 0, open: true };

describe.each(DRIVERS)('$name: a format that keeps state', (driver) => {
  const start = useFeeds();
  const clean = driver.name.startsWith('WebSocket') ? '1000' : 'complete';

  it('counts the records of each stream separately', async () => {
    const gate = deferred();
    async function* feed() {
      yield 'a';
      await gate.promise;
      yield 'b';
    }
    const { open } = await start(driver, { feed, route: { format: numbered() } });
    const clients = [open(), open()];

    await Promise.all(clients.map((client) => client.until(2)));
    gate.resolve();

    for (const client of clients) {
      expect(await client.ended()).toBe(clean);
      expect(client.records).toEqual([OPEN, { n: 1, value: 'a' }, { n: 2, value: 'b' }, { n: 3, close: true }]);
    }
  });

  it('and has truncate: false ends the body cleanly after its error record, without its close', async () => {
    const seen: unknown[] = [];
    const reasons = new Recorder<unknown>();
    const error = new HttpException('said so', 402);
    const feed = async function* () {
      yield 'a';
      throw error;
    };
    const { open, logs } = await start(driver, {
      feed,
      route: { format: numbered(seen) },
      options: { hooks: { onClose: (_stream, reason) => reasons.add(reason) } },
    });
    const client = open();

    expect(await client.ended()).toBe(clean);
    expect(client.records).toEqual([OPEN, { n: 1, value: 'a' }, { n: 2, error: 402 }]);
    expect(seen).toEqual([error]);
    expect(await reasons.count(1)).toEqual([{ code: 'error', error }]);
    expect(logs.of('error')).toHaveLength(1);
  });

  it('and fails before the first chunk sends its open before its error record', async () => {
    const gate = deferred();
    const feed = async ({ stream }: { stream: StreamConnection }) => {
      stream.open();
      await gate.promise;
      throw new Error('broken');
    };
    const { open } = await start(driver, { feed, route: { format: numbered() } });
    const client = open();
    await client.answered();
    gate.resolve();

    expect(await client.ended()).toBe(clean);
    expect(client.records).toEqual([OPEN, { n: 1, error: 500 }]);
  });

  it('receives in its close whether the server stops the stream', async () => {
    const format = defineFormat({
      name: 'closing',
      mediaTypes: ['application/x-ndjson'],
      perStream: () => ({
        encode: (value) => `${JSON.stringify(value)}\n`,
        close: (code) => `${JSON.stringify({ code })}\n`,
      }),
    });
    const feed = async function* ({ name }: { name: string }) {
      yield name;
      if (name === 'endless') {
        await new Promise(() => undefined);
      }
    };
    const { open, registry } = await start(driver, { feed, route: { format } });
    const [whole, endless] = [open('/feed/whole'), open('/feed/endless')];

    await expectEnd(driver, whole, 'completed');
    await endless.until(1);
    await registry.close();
    await endless.ended();

    expect(whole.records).toEqual(['whole', { code: 'completed' }]);
    expect(endless.records).toEqual(['endless', { code: 'server-closed' }]);
  });

  it.each([
    ['of its own', {}, {}, true],
    ['of its own, unless the route sets one', { flush: 'auto' }, {}, false],
    ['of its own, unless the application sets one', {}, { flush: 'each' }, false],
  ] as const)('has a flush policy %s', async (_what, route, options, gathers) => {
    const format = defineFormat({
      name: 'gathering',
      mediaTypes: ['application/x-ndjson'],
      flush: { bytes: 100_000, ms: 60_000, leading: true },
      encode: (value) => `${JSON.stringify(value)}\n`,
    });
    const gates = [deferred(), deferred()];
    const waiting = new Recorder<number>();
    const feed = async function* ({ stream }: { stream: StreamConnection }) {
      yield 1;
      await gates[0]?.promise;
      yield 2;
      await turns();
      waiting.add(stream.bufferedAmount);
      await gates[1]?.promise;
      yield 3;
    };
    const { open } = await start(driver, { feed, options, route: { format, ...route } });
    const client = open();

    await client.until(1);
    gates[0]?.resolve();
    if (gathers) {
      const [bytes] = await waiting.count(1);
      expect(bytes).toBeGreaterThan(0);
    } else {
      await client.until(2);
    }
    gates[1]?.resolve();
    await expectEnd(driver, client, 'completed');

    expect(client.records).toEqual([1, 2, 3]);
  });

  it('and cannot encode its error record leaves a body that is cut off', async () => {
    const format = defineFormat({
      name: 'mute',
      mediaTypes: ['application/x-ndjson'],
      encode: (value) => `${JSON.stringify(value)}\n`,
      error: ({ message }) => {
        if (message === 'undescribable') {
          throw new Error('no words');
        }
        return '';
      },
      truncate: false,
    });
    const feed = async function* ({ name }: { name: string }) {
      yield 1;
      throw new HttpException(name, 400);
    };
    const { open } = await start(driver, { feed, route: { format } });
    const clients = [open('/feed/undescribable'), open('/feed/silent')];

    for (const client of clients) {
      expect(driver.endings.exception).toContain(await client.ended());
      expect(client.records).toEqual([1]);
    }
  });

  it('adds its headers, unless the application sets them', async () => {
    const feed = ({ stream, name }: { stream: StreamConnection; name: string }) => {
      if (name === 'mine') {
        stream.header('x-protocol', 'mine');
      }
      return [1];
    };
    const { open } = await start(driver, { feed, route: { format: numbered() } });

    expect((await open().answered()).headers['x-protocol']).toBe('numbered/1');
    expect((await open('/feed/mine').answered()).headers['x-protocol']).toBe('mine');
  });
});

describe.each(PLATFORMS)('%s: the status of a format', (platform) => {
  const start = useApps();

  it('is the status of the response, unless the route or the handler sets another', async () => {
    const format = numbered();
    @Controller()
    class Feed {
      @Stream('get', { format })
      get() {
        return [1];
      }

      @Stream('post', { format, method: RequestMethod.POST })
      post() {
        return [1];
      }

      @HttpCode(201)
      @Post('route')
      @Stream({ format })
      route() {
        return [1];
      }

      @Stream('handler', { format })
      handler(@ConnectedStream() stream: StreamConnection) {
        stream.status(202);
        return [1];
      }

      @Stream('response', { format })
      response() {
        return new Response('x', { status: 207 });
      }

      @Stream('refused', { format, method: RequestMethod.POST })
      refused() {
        throw new HttpException('no', 409);
      }

      @Stream('chosen', { format: ['json', format] })
      chosen() {
        return [1];
      }
    }
    const { url } = await start(platform, { controllers: [Feed] });
    const statusOf = async (path: string, method = 'GET', headers = {}) =>
      (await fetch(url(path), { method, headers })).status;

    expect([await statusOf('/get'), await statusOf('/post', 'POST'), await statusOf('/route', 'POST')]).toEqual([
      203, 203, 201,
    ]);
    expect([await statusOf('/handler'), await statusOf('/response')]).toEqual([202, 207]);
    expect(await statusOf('/refused', 'POST')).toBe(409);
    expect([await statusOf('/chosen'), await statusOf('/chosen', 'GET', { Accept: 'application/x-ndjson' })]).toEqual([
      200, 203,
    ]);
  });
});

describe.each(PLATFORMS)('%s: a format with messages', (platform) => {
  const start = useApps();

  it('uses them over WebSocket, and itself over HTTP', async () => {
    const format = defineFormat({
      name: 'lines',
      mediaTypes: ['text/x-lines'],
      open: '<',
      encode: (value) => `[${value}]`,
      close: '>',
      error: ({ message }) => `!${message}>`,
      truncate: false,
      messages: defineFormat({
        name: 'lines',
        mediaTypes: ['text/x-lines'],
        encode: (value) => String(value),
        error: ({ message }) => `!${message}`,
      }),
    });
    @Controller()
    class Feed {
      @Stream('feed', { format })
      *feed() {
        yield 1;
        yield 2;
        throw new HttpException('said so', 400);
      }
    }
    const { url, text } = await start(platform, { controllers: [Feed], options: { websocket: true } });
    const client = await WebSocketClient.open(url('/feed'));

    expect(await client.closed).toMatchObject({ code: 1008 });
    expect(client.messages.seen).toEqual(['1', '2', '!said so']);
    expect(await text('/feed')).toBe('<[1][2]!said so>');
  });
});

describe.each(PLATFORMS)('%s: a hub in a format that keeps state', (platform) => {
  const start = useApps();

  it('numbers the records of each client separately, for new events and for the history', async () => {
    @Controller()
    class Feed {
      constructor(@InjectHub('feed') private readonly hub: Hub<string>) {}

      @Stream('feed', { format: numbered() })
      feed() {
        return this.hub.subscribe({ last: 10 });
      }
    }
    const app = await start(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    const hub = hubOf(app);
    const early = await app.get('/feed');
    await joined(hub, 1);
    await publishAll(hub, ['a', 'b']);
    await early.until('"b"}\n');
    const late = await app.get('/feed');
    await joined(hub, 2);
    await hub.publish('c');
    await Promise.all([early, late].map((client) => client.until('"c"}\n')));

    const body = '{"n":0,"open":true}\n{"n":1,"value":"a"}\n{"n":2,"value":"b"}\n{"n":3,"value":"c"}\n';
    expect([early.body, late.body]).toEqual([body, body]);
  });
});
