import { Controller, Get, Header, Post } from '@nestjs/common';
import { NEVER } from 'rxjs';
import {
  ConnectedStream,
  defineFormat,
  event,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamOptions,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { hubOf, joined, publishAll } from '../support/hub.js';
import { type RunningApp, useApps } from '../support/running.js';

const start = useApps();

async function get(
  platform: Platform,
  accept: string | undefined,
  produce: () => unknown,
  options?: StreamOptions,
): Promise<{ readonly status: number; readonly headers: string; readonly type: string; readonly body: string }> {
  const app = await start(platform, { controllers: [controllerOf(produce, options)] });
  const client = await app.get('/source', { Connection: 'close', ...(accept === undefined ? {} : { Accept: accept }) });
  const received = await client.closed();
  const headers = received.slice(0, received.indexOf('\r\n\r\n')).toLowerCase();
  return {
    status: Number(received.slice(9, 12)),
    headers,
    type: /content-type: (.*)/.exec(headers)?.[1] ?? '',
    body: client.body,
  };
}

const rows = () => [{ a: 1 }, 'two', event({ data: 3, id: 'x' })];

const NDJSON = '{"a":1}\n"two"\n3\n';
const SSE = 'data: {"a":1}\n\ndata: two\n\nid: x\ndata: 3\n\n';
const TEXT = '{"a":1}\ntwo3';

describe.each(PLATFORMS)('%s: a route that offers all formats responds to', (platform) => {
  it.each([
    ['text/event-stream', 'text/event-stream', SSE],
    ['application/x-ndjson', 'application/x-ndjson', NDJSON],
    ['application/ndjson', 'application/ndjson', NDJSON],
    ['application/jsonl', 'application/jsonl', NDJSON],
    ['application/stream+json', 'application/stream+json', NDJSON],
    ['application/json-seq', 'application/json-seq', '\x1e{"a":1}\n\x1e"two"\n\x1e3\n'],
    ['application/json', 'application/json', '[{"a":1},"two",3]'],
    ['text/plain', 'text/plain; charset=utf-8', TEXT],
    ['text/plain; charset=utf-8', 'text/plain; charset=utf-8', TEXT],
    ['text/*', 'text/plain; charset=utf-8', TEXT],
    ['application/octet-stream', 'application/octet-stream', TEXT],
    ['application/json;q=0.4, text/event-stream;q=0.9', 'text/event-stream', SSE],
    ['text/html, application/json;q=0.9', 'application/json', '[{"a":1},"two",3]'],
    ['application/json, text/plain, */*', 'application/json', '[{"a":1},"two",3]'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'application/x-ndjson', NDJSON],
  ])('%s with %s', async (accept, contentType, body) => {
    const response = await get(platform, accept, rows);

    expect(response.type).toBe(contentType);
    expect(response.body).toBe(body);
    expect(response.headers).toContain('\r\nvary: accept\r\n');
  });

  it.each([
    ['no Accept', undefined],
    ['*/*', '*/*'],
    ['a light */*', '*/*;q=0.1'],
  ])('%s in the format of the first chunk', async (_what, accept) => {
    const text = await get(platform, accept, () => ['a', { b: 1 }]);
    const bytes = await get(platform, accept, () => [Buffer.from('a'), 'b']);
    const values = await get(platform, accept, () => [{ b: 1 }, 'a', Buffer.from('a')]);

    expect([text.type, text.body]).toEqual(['text/plain; charset=utf-8', 'a{"b":1}\n']);
    expect([bytes.type, bytes.body]).toEqual(['application/octet-stream', 'ab']);
    expect([values.type, values.body]).toEqual(['application/x-ndjson', '{"b":1}\n"a"\n"YQ=="\n']);
    expect(text.headers).toContain('\r\nvary: accept\r\n');
  });

  it('a request whose first chunk is an event in the format of its data: text for a string, NDJSON otherwise', async () => {
    const text = await get(platform, '*/*', () => [event({ data: 'a', id: '1' }), event({ comment: 'c' }), 'b']);
    const values = await get(platform, '*/*', () => [event({ data: { a: 1 }, id: '1' }), event({ data: 'b' })]);

    expect([text.type, text.body]).toEqual(['text/plain; charset=utf-8', 'ab']);
    expect([values.type, values.body]).toEqual(['application/x-ndjson', '{"a":1}\n"b"\n']);
  });

  it('an Accept that is invalid with 406, and the server continues', async () => {
    for (const accept of [',', ';;', '"', 'text', '/', 'text/plain;q=x;a="']) {
      expect((await get(platform, accept, rows)).status).toBe(406);
    }
    expect((await get(platform, ', text/event-stream;;', rows)).type).toBe('text/event-stream');
  });
});

describe.each(PLATFORMS)('%s: a route without a format', (platform) => {
  const WARNING = /^warn Sources\.source: an object was sent in a stream of (text|bytes).*Name a format/;
  const warningsOf = (app: RunningApp) => app.logs.of('warn');

  it.each([
    ['text', ['a', { b: 1 }, { c: 2 }]],
    ['text', ['a', [1], null]],
    ['text', [event({ data: 'a' }), event({ data: { b: 1 } })]],
    ['bytes', [Buffer.from('a'), 'b', { b: 1 }]],
  ])('whose first chunk is %s logs one warning for objects that follow: %j', async (format, chunks) => {
    const app = await start(platform, { controllers: [controllerOf(() => chunks)] });
    await app.text('/source');
    await app.text('/source');

    expect(warningsOf(app)).toEqual([expect.stringMatching(WARNING)]);
    expect(warningsOf(app)[0]).toContain(`a stream of ${format}`);
  });

  it.each([
    ['strings, numbers and bytes', ['a', 1, true, Buffer.from('b')], {}, '*/*'],
    ['objects, and then strings', [{ a: 1 }, 'b'], {}, '*/*'],
    ['what the client asked for as text', ['a', { b: 1 }], {}, 'text/plain'],
    ['what the route names text', ['a', { b: 1 }], { format: 'text' }, '*/*'],
  ] as const)('or with one logs no warning for %s', async (_what, chunks, options, accept) => {
    const app = await start(platform, { controllers: [controllerOf(() => chunks, options)] });
    await app.text('/source', { Accept: accept });

    expect(warningsOf(app)).toEqual([]);
  });

  it('logs one warning for objects that a hub sends to clients of text', async () => {
    const app = await start(platform, {
      controllers: [controllerOf(() => hubOf(app).subscribe())],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    const hub = hubOf(app);
    const clients = [await app.get('/source'), await app.get('/source')] as const;
    await joined(hub, 2);
    await publishAll(hub, ['a', { b: 1 }, { c: 2 }]);
    await Promise.all(clients.map((client) => client.until('{"c":2}')));

    expect(clients[0].body).toBe('a{"b":1}\n{"c":2}\n');
    expect(warningsOf(app)).toEqual([expect.stringMatching(WARNING)]);
  });
});

describe.each(PLATFORMS)('%s: a route with a list of formats', (platform) => {
  const options: StreamOptions = { format: ['sse', 'ndjson'] };

  it.each([
    ['the first by default', undefined, 'text/event-stream'],
    ['the first for */*', '*/*', 'text/event-stream'],
    ['the first for text/*', 'text/*', 'text/event-stream'],
    ['the requested format', 'application/x-ndjson', 'application/x-ndjson'],
    ['the format of another media type', 'application/jsonl', 'application/jsonl'],
    ['the format that a range matches', 'application/*', 'application/x-ndjson'],
    ['the format with the highest weight', 'text/event-stream;q=0.3, application/x-ndjson', 'application/x-ndjson'],
    ['the format that is not refused', 'text/event-stream;q=0, */*', 'application/x-ndjson'],
  ])('responds with %s', async (_what, accept, contentType) => {
    const response = await get(platform, accept, rows, options);

    expect(response.type).toBe(contentType);
    expect(response.headers).toContain('\r\nvary: accept\r\n');
  });

  it('responds with 406 and its media types, and does not call the handler', async () => {
    let calls = 0;
    const count = () => {
      calls++;
      return rows();
    };
    const response = await get(platform, 'image/png, application/json;q=0.5', count, options);

    expect(response.status).toBe(406);
    expect(JSON.parse(response.body)).toEqual({
      statusCode: 406,
      error: 'Not Acceptable',
      message:
        'No format of this stream is acceptable. Available: text/event-stream, application/x-ndjson, application/jsonl, application/stream+json, application/ndjson',
      acceptable: [
        'text/event-stream',
        'application/x-ndjson',
        'application/jsonl',
        'application/stream+json',
        'application/ndjson',
      ],
    });
    expect(response.headers).toContain('\r\nvary: accept\r\n');
    expect(calls).toBe(0);
  });

  it('sends the head at once, because the format does not depend on the first chunk', async () => {
    const app = await start(platform, {
      controllers: [controllerOf(() => NEVER, options)],
      options: { openDelay: 10 },
    });

    const client = await app.get('/source', { Accept: '*/*' });

    expect((await client.until('\r\n\r\n')).toLowerCase()).toContain('content-type: text/event-stream');
  });
});

describe.each(PLATFORMS)('%s: a route with one format', (platform) => {
  it.each([
    ['ndjson', 'application/x-ndjson', '{"a":1}\n"two"\n3\n'],
    ['jsonl', 'application/jsonl', '{"a":1}\n"two"\n3\n'],
    ['json', 'application/json', '[{"a":1},"two",3]'],
    ['json-seq', 'application/json-seq', '\x1e{"a":1}\n\x1e"two"\n\x1e3\n'],
    ['sse', 'text/event-stream', 'data: {"a":1}\n\ndata: two\n\ndata: 3\n\n'],
    ['text', 'text/plain; charset=utf-8', TEXT],
    ['bytes', 'application/octet-stream', TEXT],
  ] as const)('sends %s whatever the client accepts', async (format, contentType, body) => {
    const response = await get(platform, 'image/png', () => [{ a: 1 }, 'two', 3], { format });

    expect(response.status).toBe(200);
    expect(response.type).toBe(contentType);
    expect(response.body).toBe(body);
    expect(response.headers).not.toContain('vary');
  });

  it('uses the format of the application, unless it sets its own', async () => {
    @Controller()
    class Two {
      @Stream('application')
      application() {
        return ['a'];
      }

      @Stream('own', { format: 'text' })
      own() {
        return ['a'];
      }
    }
    const app = await start(platform, { controllers: [Two], options: { format: 'sse' } });

    expect(await app.text('/application')).toBe('data: a\n\n');
    expect(await app.text('/own')).toBe('a');
  });

  it.each([
    ['json', '[]'],
    ['ndjson', ''],
    ['json-seq', ''],
    ['sse', ''],
    ['text', ''],
  ] as const)('sends an empty stream as %s: %j', async (format, body) => {
    const response = await get(platform, undefined, () => [], { format });

    expect(response.status).toBe(200);
    expect(response.body).toBe(body);
  });

  it.each([
    [1, '["x"]'],
    [2, '["x","x"]'],
    [1_000, JSON.stringify(Array(1_000).fill('x'))],
  ])('sends %d values as one valid JSON array', async (count, body) => {
    expect((await get(platform, undefined, () => Array(count).fill('x'), { format: 'json' })).body).toBe(body);
  });

  it('does not close the JSON array of a stream that fails', async () => {
    const response = await get(
      platform,
      undefined,
      function* () {
        yield 1;
        yield 1n;
      },
      { format: 'json' },
    );

    expect(response.body).toBe('[1');
  });

  it('splits data of several lines into fields, so that data cannot inject fields', async () => {
    const response = await get(platform, undefined, () => ['a\ndata: injected\r\rid: 1', { data: 'x\r\ny' }], {
      format: 'sse',
    });

    expect(response.body).toBe('data: a\ndata: data: injected\ndata: \ndata: id: 1\n\ndata: x\ndata: y\n\n');
  });
});

describe.each(PLATFORMS)('%s: events in a format without fields', (platform) => {
  const events = () => [
    event({ data: { a: 1 }, id: '1', type: 't' }),
    event({ comment: 'not sent' }),
    event({ retry: 10 }),
    event({ data: null }),
    { data: 'b', other: 1 },
  ];

  it.each([
    ['ndjson', '{"a":1}\nnull\n{"data":"b","other":1}\n'],
    ['json', '[{"a":1},null,{"data":"b","other":1}]'],
    ['text', '{"a":1}\nnull\n{"data":"b","other":1}\n'],
  ])('send their data alone: %s', async (format, body) => {
    const accept = { ndjson: 'application/x-ndjson', json: 'application/json', text: 'text/plain' }[format];

    expect((await get(platform, accept, events)).body).toBe(body);
    expect((await get(platform, accept, events, { format: ['sse', 'ndjson', 'json', 'text'] })).body).toBe(body);
  });
});

describe.each(PLATFORMS)('%s: a route without SSE', (platform) => {
  it('has no events, so an object with the keys of an event is data', async () => {
    const row = { data: 1, id: 'x' };

    expect((await get(platform, undefined, () => [row], { format: 'ndjson' })).body).toBe('{"data":1,"id":"x"}\n');
    expect((await get(platform, undefined, () => [row], { format: ['json', 'text'] })).body).toBe(
      '[{"data":1,"id":"x"}]',
    );
  });
});

const csv = defineFormat<readonly unknown[]>({
  name: 'csv',
  mediaTypes: ['text/csv', 'application/csv'],
  parameters: 'charset=utf-8',
  open: 'id,name\r\n',
  encode: (row) => `${row.join(',')}\r\n`,
  close: '# end\r\n',
});

describe.each(PLATFORMS)('%s: a custom format', (platform) => {
  const table = () => [
    [1, 'a'],
    [2, 'b'],
  ];

  it('is sent as defined', async () => {
    const response = await get(platform, undefined, table, { format: csv });

    expect(response.type).toBe('text/csv; charset=utf-8');
    expect(response.body).toBe('id,name\r\n1,a\r\n2,b\r\n# end\r\n');
  });

  it('sends its open and close also if there is no chunk', async () => {
    expect((await get(platform, undefined, () => [], { format: csv })).body).toBe('id,name\r\n# end\r\n');
  });

  it('can be selected by any of its media types', async () => {
    const options: StreamOptions = { format: ['ndjson', csv] };

    expect((await get(platform, 'application/csv', table, options)).type).toBe('application/csv; charset=utf-8');
    expect((await get(platform, 'text/csv;q=0.1, application/json', table, options)).type).toBe(
      'text/csv; charset=utf-8',
    );
    expect((await get(platform, '*/*', table, options)).type).toBe('application/x-ndjson');
  });

  it('may encode chunks as bytes, with separators between them', async () => {
    const framed = defineFormat<string>({
      name: 'framed',
      mediaTypes: ['application/x-framed'],
      separator: '|',
      encode: (value) => Uint8Array.of(value.length, ...Buffer.from(value)),
    });

    expect((await get(platform, undefined, () => ['a', 'bcd'], { format: framed })).body).toBe('\x01a|\x03bcd');
  });

  it('sends nothing for an empty encoding', async () => {
    const even = defineFormat<number>({
      name: 'even',
      mediaTypes: ['text/x-even'],
      separator: ',',
      encode: (value) => (value % 2 === 0 ? String(value) : ''),
    });

    expect((await get(platform, undefined, () => [1, 2, 3, 4, 5], { format: even })).body).toBe('2,4');
  });

  it('that throws for the first chunk causes a 500, and the log names the route', async () => {
    const app = await start(platform, { controllers: [controllerOf(() => [7], { format: csv })] });

    expect((await fetch(app.url('/source'))).status).toBe(500);
    expect(app.logs.of('error').join()).toContain('Sources.source: a chunk cannot be sent as csv: row.join');
  });
});

const cycle: { self?: unknown } = {};
cycle.self = cycle;

describe.each(PLATFORMS)('%s: a value that cannot be serialized', (platform) => {
  it.each([
    ['a BigInt', 1n, 'BigInt'],
    ['a cycle', cycle, 'circular'],
    ['a function', () => 1, 'function has no JSON form'],
    ['an event of type with a line break', { data: 1, type: 'a\nb' }, 'without CR or LF'],
    ['an event with NUL in its id', { data: 1, id: 'a\0b' }, 'without CR, LF or NUL'],
  ])('causes a 500 as the first chunk: %s', async (_what, value, why) => {
    const app = await start(platform, { controllers: [controllerOf(() => [value], { format: 'sse' })] });

    const response = await fetch(app.url('/source'));

    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ statusCode: 500, message: 'Internal server error' });
    expect(app.logs.of('error').join()).toContain('Sources.source: a chunk cannot be sent as sse');
    expect(app.logs.of('error').join()).toContain(why);
  });

  it.each([
    ['sse', 'data: {"n":1}\n\nevent: error\ndata: {"statusCode":500,"message":"Internal server error"}\n\n'],
    ['ndjson', '{"n":1}\n{"error":{"statusCode":500,"message":"Internal server error"}}\n'],
    ['json-seq', '\x1e{"n":1}\n\x1e{"error":{"statusCode":500,"message":"Internal server error"}}\n'],
    ['json', '[{"n":1}'],
    ['text', '{"n":1}\n'],
    ['bytes', '{"n":1}\n'],
  ] as const)('cuts off an open stream after the error record, as %s', async (format, body) => {
    const app = await start(platform, { controllers: [controllerOf(() => [{ n: 1 }, { n: 1n }], { format })] });

    const client = await app.get('/source');
    await client.closed();

    expect(client.body).toBe(body);
    expect(client.complete).toBe(false);
    expect(app.logs.of('error').join()).toContain(`Sources.source: a chunk cannot be sent as ${format}`);
    expect((await fetch(app.url('/none'))).status).toBe(404);
  });
});

describe.each(PLATFORMS)('%s: the head of a stream', (platform) => {
  it('tells caches and proxies neither to store nor to transform the body', async () => {
    const { headers } = await get(platform, 'text/event-stream', rows);

    expect(headers).toContain('\r\ncache-control: no-cache, no-transform\r\n');
    expect(headers).toContain('\r\nx-accel-buffering: no\r\n');
    expect(headers).toContain('\r\nx-content-type-options: nosniff\r\n');
    expect(headers).toContain('\r\nincremental: ?1\r\n');
  });

  it('contains each header once', async () => {
    const { headers } = await get(platform, 'text/event-stream', rows);
    const names = headers.split('\r\n').map((line) => line.slice(0, line.indexOf(':')));

    expect(names).toEqual([...new Set(names)]);
  });

  it('contains the headers that the application has set', async () => {
    @Controller()
    class Own {
      @Stream('own', { format: 'text' })
      @Header('Cache-Control', 'no-store')
      @Header('X-Accel-Buffering', 'yes')
      own(@ConnectedStream() stream: StreamConnection) {
        stream.header('Content-Type', 'text/markdown').header('Incremental', '?0').header('X-Several', ['a', 'b']);
        return ['# Title'];
      }
    }
    const app = await start(platform, { controllers: [Own] });

    const { headers } = await fetch(app.url('/own'));

    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-accel-buffering')).toBe('yes');
    expect(headers.get('content-type')).toBe('text/markdown');
    expect(headers.get('incremental')).toBe('?0');
    expect(headers.get('x-several')).toBe('a, b');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('adds Accept to the Vary of the application', async () => {
    const app = await start(platform, {
      controllers: [controllerOf(rows)],
      configure: (nest) => nest.enableCors({ origin: ['http://a.example', 'http://b.example'] }),
    });

    const { headers } = await fetch(app.url('/source'), { headers: { Origin: 'http://b.example' } });

    expect(headers.get('access-control-allow-origin')).toBe('http://b.example');
    expect(headers.get('vary')?.split(', ').sort()).toEqual(['Accept', 'Origin']);
  });

  it('contains Accept only once in Vary, and not next to a star', async () => {
    @Controller()
    class Varying {
      @Stream('accept')
      @Header('Vary', 'accept, X-Own')
      accept() {
        return ['a'];
      }
    }
    const app = await start(platform, { controllers: [Varying] });

    expect((await fetch(app.url('/accept'))).headers.get('vary')).toMatch(/^accept, X-Own$/i);
  });

  it('does not change routes that are not streams', async () => {
    @Controller()
    class Plain {
      @Get('plain')
      plain() {
        return { a: 1 };
      }

      @Post('plain')
      post() {
        return [1];
      }

      @Stream('stream')
      stream() {
        return ['a'];
      }
    }
    const app = await start(platform, { controllers: [Plain] });

    const response = await fetch(app.url('/plain'), { headers: { Accept: 'text/event-stream' } });

    expect(response.headers.get('incremental')).toBeNull();
    expect(response.headers.get('vary')).toBeNull();
    expect(await response.json()).toEqual({ a: 1 });
    expect(await (await fetch(app.url('/plain'), { method: 'POST' })).json()).toEqual([1]);
  });
});
