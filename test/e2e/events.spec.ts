import { ClassSerializerInterceptor, Controller, UseInterceptors } from '@nestjs/common';
import { from, of, Subject } from 'rxjs';
import {
  defineFormat,
  event,
  getHubToken,
  type Hub,
  Sse,
  Stream,
  type StreamEvent,
  type StreamHooks,
  StreamingModule,
  type StreamOptions,
  UseStreamHooks,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();

/** The body of a stream, and whether it is complete. */
async function bodyOf(
  platform: Platform,
  produce: () => unknown,
  options: StreamOptions,
  accept?: string,
  setup: AppSetup = {},
): Promise<string> {
  const app = await start(platform, { ...setup, controllers: [controllerOf(produce, options)] });
  const client = await app.get('/source', { Connection: 'close', ...(accept && { Accept: accept }) });
  await client.closed();
  expect(client.received).toMatch(/^HTTP\/1.1 200 /);
  return client.body;
}

/** The messages that a WebSocket client of the route receives. */
async function messagesOf(
  platform: Platform,
  produce: () => unknown,
  options: StreamOptions,
  protocols: string[] = [],
): Promise<unknown[]> {
  const app = await start(platform, { controllers: [controllerOf(produce, options)], options: { websocket: true } });
  const client = await WebSocketClient.open(app.url('/source'), protocols);
  return (await client.all()).map(String);
}

/** Rows of a table, each of which looks like an event. */
const ROWS = [
  { id: 1, comment: 'nice' },
  { id: 1, type: 'order', data: 'abc' },
  { retry: 3 },
  { data: null },
  { comment: '' },
];
const ROWS_AS_JSON = ROWS.map((row) => JSON.stringify(row));

describe.each(PLATFORMS)('%s: on a route that offers more than SSE, a row that looks like an event', (platform) => {
  const several: StreamOptions = { format: ['sse', 'ndjson', 'json', 'json-seq', 'text'] };

  it.each<[string, string]>([
    ['application/x-ndjson', ROWS_AS_JSON.map((row) => `${row}\n`).join('')],
    ['application/json', `[${ROWS_AS_JSON.join(',')}]`],
    ['application/json-seq', ROWS_AS_JSON.map((row) => `\x1e${row}\n`).join('')],
    ['text/plain', ROWS_AS_JSON.map((row) => `${row}\n`).join('')],
    ['text/event-stream', ROWS_AS_JSON.map((row) => `data: ${row}\n\n`).join('')],
  ])('is sent whole as %s', async (accept, body) => {
    expect(await bodyOf(platform, () => ROWS, {}, accept)).toBe(body);
    expect(await bodyOf(platform, () => ROWS, several, accept)).toBe(body);
  });

  it('is sent whole to a client that does not choose a format', async () => {
    expect(await bodyOf(platform, () => ROWS, {})).toBe(ROWS_AS_JSON.map((row) => `${row}\n`).join(''));
  });

  it('is sent whole over WebSocket, with and without the fields of events', async () => {
    for (const options of [{}, several]) {
      expect(await messagesOf(platform, () => ROWS, options)).toEqual(ROWS_AS_JSON);
      expect(await messagesOf(platform, () => ROWS, options, ['events.v1+json'])).toEqual(
        ROWS_AS_JSON.map((row) => `{"data":${row}}`),
      );
    }
  });

  it('is sent whole, whatever its source is', async () => {
    const row = { id: 1, comment: 'nice' };
    const line = `${JSON.stringify(row)}\n`;
    const hooks: StreamHooks = {
      onOpen: (stream) => void stream.send(row),
      beforeChunk: (chunk) => [chunk, row],
      beforeClose: (stream) => void stream.send(row),
    };
    @Controller()
    class Rows {
      @Stream('observable')
      observable() {
        return of(row);
      }

      @Stream('web')
      web() {
        return new ReadableStream({
          start(controller) {
            controller.enqueue(row);
            controller.close();
          },
        });
      }

      @Stream('hooked')
      @UseStreamHooks(hooks)
      hooked() {
        return [];
      }
    }
    const app = await start(platform, { controllers: [Rows] });

    expect(await app.text('/observable')).toBe(line);
    expect(await app.text('/web')).toBe(line);
    expect(await app.text('/hooked')).toBe(line.repeat(4));
  });
});

describe.each(PLATFORMS)('%s: the result of event()', (platform) => {
  const events = () => [
    event({ id: '1', type: 'order', data: { a: 1 } }),
    event({ comment: 'hint' }),
    event({ retry: 50 }),
    event({ data: 'last' }),
  ];

  it.each<[string, string]>([
    ['application/x-ndjson', '{"a":1}\n"last"\n'],
    ['application/json', '[{"a":1},"last"]'],
    ['application/json-seq', '\x1e{"a":1}\n\x1e"last"\n'],
    ['text/plain', '{"a":1}\nlast'],
    ['text/event-stream', 'event: order\nid: 1\ndata: {"a":1}\n\n: hint\nretry: 50\ndata: last\n\n'],
  ])('is an event on a route that offers all formats: %s', async (accept, body) => {
    expect(await bodyOf(platform, events, {}, accept)).toBe(body);
  });

  it('is an event on a route with SSE only, and on a route without SSE', async () => {
    expect(await bodyOf(platform, events, { format: 'sse' })).toMatch(/^event: order\nid: 1\n/);
    expect(await bodyOf(platform, events, { format: 'ndjson' })).toBe('{"a":1}\n"last"\n');
  });

  it('is an event over WebSocket', async () => {
    expect(await messagesOf(platform, events, {})).toEqual(['{"a":1}', 'last']);
    expect(await messagesOf(platform, events, { format: 'ndjson' }, ['events.v1+json'])).toEqual([
      '{"id":"1","type":"order","data":{"a":1}}',
      '{"retry":50}',
      '{"data":"last"}',
    ]);
  });

  it('is still an event when a hook has copied it', async () => {
    @Controller()
    @UseStreamHooks({
      beforeChunk: (chunk) => ({ ...(chunk as StreamEvent), data: 'copied' }),
    })
    class Copied {
      @Stream('copied')
      copied() {
        return from([event({ id: '1', data: 'a' })]);
      }
    }
    const app = await start(platform, { controllers: [Copied] });

    expect(await app.text('/copied', { Accept: 'text/event-stream' })).toBe('id: 1\ndata: copied\n\n');
  });

  it('is still an event when the ClassSerializerInterceptor of Nest has copied it', async () => {
    @Controller()
    @UseInterceptors(ClassSerializerInterceptor)
    class Serialized {
      @Stream('serialized')
      serialized() {
        return of(event({ id: '1', type: 't', data: { a: 1 } }));
      }
    }
    const app = await start(platform, { controllers: [Serialized] });

    expect(await app.text('/serialized', { Accept: 'text/event-stream' })).toBe('event: t\nid: 1\ndata: {"a":1}\n\n');
  });

  it('is an event when it was made by another copy of the package', async () => {
    const made = { 'nestjs-streaming': Symbol.for('nestjs-streaming:event'), type: 'x', data: 1 };

    expect(await bodyOf(platform, () => [made], {}, 'text/event-stream')).toBe('event: x\ndata: 1\n\n');
  });

  it('makes its stream fail, with the reason in the log, if a hook has added a key to it', async () => {
    const app = await start(platform, { controllers: [controllerOf(() => [{ ...event({ data: 1 }), at: 7 }])] });

    expect((await fetch(app.url('/source'))).status).toBe(500);
    expect(app.logs.of('error').join()).toContain('Sources.source: a chunk cannot be sent: an event has no field "at"');
  });
});

describe.each(PLATFORMS)('%s: an event of a hub', (platform) => {
  it('is an event on a route that offers all formats, also if a generator yields it', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed() {
        for await (const each of hub.subscribe({ last: 2 })) {
          yield each;
          if (each.data === 'b') return;
        }
      }
    }
    const app = await start(platform, {
      imports: [StreamingModule.registerHub({ name: 'feed', history: { limit: 10 } })],
      controllers: [Feed],
    });
    const hub: Hub = app.app.get(getHubToken('feed'));
    const first = await hub.publish('a', { type: 't' });
    const second = await hub.publish('b');

    expect(await app.text('/feed', { Accept: 'text/event-stream' })).toBe(
      `event: t\nid: ${first}\ndata: a\n\nid: ${second}\ndata: b\n\n`,
    );
    expect(await app.text('/feed', { Accept: 'application/x-ndjson' })).toBe('"a"\n"b"\n');
  });
});

describe.each(PLATFORMS)('%s: the option events', (platform) => {
  const row = { id: '1', data: 'x' };

  it.each<[string, StreamOptions, string | undefined, string]>([
    [
      '"shape" has objects read as events on a route of several formats',
      { events: 'shape' },
      'text/event-stream',
      'id: 1\ndata: x\n\n',
    ],
    [
      '"shape" has other formats send their data',
      { events: 'shape', format: ['sse', 'ndjson'] },
      'application/x-ndjson',
      '"x"\n',
    ],
    [
      '"explicit" has them sent as data on a route of SSE alone',
      { events: 'explicit', format: 'sse' },
      undefined,
      'data: {"id":"1","data":"x"}\n\n',
    ],
    ['left out has them read as events on a route of SSE alone', { format: ['sse'] }, undefined, 'id: 1\ndata: x\n\n'],
  ])('%s', async (_what, options, accept, body) => {
    expect(await bodyOf(platform, () => [row], options, accept)).toBe(body);
  });

  it('of the application applies to every route that does not set it', async () => {
    @Controller()
    class Routes {
      @Stream('application')
      application() {
        return [row];
      }

      @Stream('own', { events: 'explicit' })
      own() {
        return [row];
      }

      @Sse('sse')
      sse() {
        return [row];
      }
    }
    const shape = await start(platform, { controllers: [Routes], options: { events: 'shape' } });
    const explicit = await start(platform, { controllers: [Routes], options: { events: 'explicit' } });

    expect(await shape.text('/application', { Accept: 'text/event-stream' })).toBe('id: 1\ndata: x\n\n');
    expect(await shape.text('/own', { Accept: 'text/event-stream' })).toBe('data: {"id":"1","data":"x"}\n\n');
    expect(await explicit.text('/sse')).toBe('data: {"id":"1","data":"x"}\n\n');
  });

  it('applies to the WebSockets of a route too', async () => {
    expect(await messagesOf(platform, () => [row], { format: 'sse' })).toEqual(['x']);
    expect(await messagesOf(platform, () => [row], { format: 'sse', events: 'explicit' })).toEqual([
      JSON.stringify(row),
    ]);
  });

  const parts = defineFormat({
    name: 'parts',
    mediaTypes: ['text/event-stream'],
    fields: true,
    events: false,
    encode: ({ data }: StreamEvent) => `data: ${JSON.stringify(data)}\n\n`,
  });

  it('is "explicit" for a format with events: false, also on a route with only that format', async () => {
    const part = { type: 'data-weather', data: { city: 'Oslo' } };
    const body = 'data: {"type":"data-weather","data":{"city":"Oslo"}}\n\n';

    expect(await bodyOf(platform, () => [part], { format: parts })).toBe(body);
    expect(await bodyOf(platform, () => [part], { format: parts }, undefined, { options: { events: 'shape' } })).toBe(
      body,
    );
  });

  it('does not change that a format with fields receives events, also for chunks that are data', async () => {
    const seen: unknown[] = [];
    const format = defineFormat({
      name: 'seen',
      mediaTypes: ['text/x-seen'],
      fields: true,
      encode: (each: StreamEvent) => {
        seen.push(each.data);
        return `${each.type ?? 'none'};`;
      },
    });

    expect(await bodyOf(platform, () => ['a', { b: 1 }, { type: 'c', data: 3 }], { format })).toBe('none;none;c;');
    expect(seen).toEqual(['a', { b: 1 }, 3]);
  });

  it.each<[StreamOptions, string]>([
    [{ events: 'shape', format: 'ndjson' }, '"events" contradicts "format", as ndjson has no events'],
    [{ events: 'shape', format: parts }, '"events" is "shape", but the format parts has "events: false"'],
    [{ events: 'shape', format: ['sse', parts] }, '"events" is "shape", but the format parts has "events: false"'],
    [{ events: 'all' as 'shape' }, '"events" must be one of "shape", "explicit"'],
  ])('%j is refused when the application starts', async (options, why) => {
    await expect(start(platform, { controllers: [controllerOf(() => [], options)] })).rejects.toThrow(
      `@Stream() of Sources.source: ${why}`,
    );
  });
});

class Price {
  readonly secret = 'not for clients';
  constructor(private readonly eur: number) {}
  get type() {
    return 'price';
  }
  get data() {
    return { eur: this.eur };
  }
}

describe.each(PLATFORMS)('%s: on a route with SSE only,', (platform) => {
  it.each<[string, unknown, string]>([
    ['a MessageEvent of the DOM', new MessageEvent('price', { data: { eur: 1 } }), 'event: price\ndata: {"eur":1}\n\n'],
    ['an instance of a class with getters', new Price(2), 'event: price\ndata: {"eur":2}\n\n'],
    ['an event with a key that has no value', { data: 'x', foo: undefined }, 'data: x\n\n'],
    ['an event whose data is undefined', { data: undefined }, ''],
    ['undefined', undefined, ''],
    ['an event with a retry that is text', { data: 1, retry: '3000' }, 'retry: 3000\ndata: 1\n\n'],
    ['an event with a type that is a number', { data: 1, type: 404 }, 'event: 404\ndata: 1\n\n'],
  ])('%s is sent as Nest would send it', async (_what, value, body) => {
    expect(await bodyOf(platform, () => of(value, 'end'), { format: 'sse' })).toBe(`${body}data: end\n\n`);
  });

  it('each value of a Subject<void> is ignored, and the stream stays open', async () => {
    const ticks = new Subject<void>();
    const app = await start(platform, { controllers: [controllerOf(() => ticks, { format: 'sse', openDelay: 0 })] });
    const client = await app.get('/source');
    await client.until('\r\n\r\n');

    ticks.next();
    ticks.next();
    ticks.complete();

    await client.until('0\r\n\r\n');
    expect(client.body).toBe('');
    expect(app.logs.of('error')).toEqual([]);
  });

  it.each<[string, () => unknown, string]>([
    [
      'a getter that throws',
      () => ({
        get data() {
          throw new Error('no price');
        },
      }),
      'no price',
    ],
    [
      'a getter of a key that no event has, which throws',
      () => ({
        get x() {
          throw new Error('no x');
        },
        data: 1,
      }),
      'no x',
    ],
    [
      'a Proxy that throws for a field',
      () =>
        new Proxy(
          {},
          {
            get(_target, key) {
              if (key === 'data') {
                throw new Error('no field');
              }
              return undefined;
            },
            has: (_target, key) => key === 'data',
          },
        ),
      'no field',
    ],
    [
      'a Proxy that cannot be asked for its keys',
      () =>
        new Proxy(
          {},
          {
            ownKeys() {
              throw new Error('no keys');
            },
          },
        ),
      'no keys',
    ],
  ])('%s makes that stream fail with an error that names it, and no other', async (_what, make, why) => {
    @Controller()
    class Neighbours {
      @Sse('bad')
      bad() {
        return ['first', make()];
      }

      @Sse('good')
      good() {
        return ['whole'];
      }
    }
    const app = await start(platform, { controllers: [Neighbours] });

    const client = await app.get('/bad');
    await client.closed();

    expect(client.body).toMatch(/^data: first\n\nevent: error\n/);
    expect(client.complete).toBe(false);
    expect(app.logs.of('error').join()).toMatch(
      new RegExp(`StreamError: Neighbours.bad: a chunk cannot be sent as sse: .*${why}`),
    );
    expect(await app.text('/good')).toBe('data: whole\n\n');
  });
});
