import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Controller, Header, HttpCode, type MessageEvent, StreamableFile, type Type } from '@nestjs/common';
import nodeFetch, { Response as NodeFetchResponse } from 'node-fetch';
import { from, NEVER, Observable, type Observer, of, Subject, throwError } from 'rxjs';
import { Observable as SecondObservable, of as secondOf } from 'rxjs-second';
import {
  ConnectedStream,
  flush,
  Sse,
  Stream,
  type StreamCloseError,
  type StreamConnection,
  StreamError,
  type StreamOptions,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { Recorder } from '../support/events.js';
import { IS_NEST_11_0 } from '../support/nest.js';
import { RawClient } from '../support/raw-client.js';
import { type RunningApp, useApps } from '../support/running.js';

const launch = useApps();

function start(platform: Platform, ...controllers: Type[]): Promise<RunningApp> {
  return launch(platform, { controllers });
}

async function get(platform: Platform, produce: () => unknown, options?: StreamOptions): Promise<Response> {
  const { url } = await start(platform, controllerOf(produce, options));
  return fetch(url('/source'));
}

const folder = mkdtempSync(join(tmpdir(), 'sources-'));
const file = join(folder, 'text');
writeFileSync(file, 'line\n'.repeat(50_000));
afterAll(() => rmSync(folder, { recursive: true }));

const NDJSON = 'application/x-ndjson';
const TEXT = 'text/plain; charset=utf-8';
const BYTES = 'application/octet-stream';

function webStream(...chunks: unknown[]): ReadableStream<unknown> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) {
        controller.enqueue(chunk);
      }
      controller.close();
    },
  });
}

async function* nothing(): AsyncGenerator<unknown> {
  yield* [];
}

/** An object that has only `Symbol.observable`, like an Observable of another copy of RxJS. */
function foreignObservable(): unknown {
  return { '@@observable': () => ({ subscribe: (observer: Observer<string>) => of('a', 'b').subscribe(observer) }) };
}

const FINITE: readonly (readonly [what: string, make: () => unknown, contentType: string, body: string])[] = [
  [
    'an async generator',
    async function* () {
      yield { i: 1 };
      await turn();
      yield { i: 2 };
    },
    NDJSON,
    '{"i":1}\n{"i":2}\n',
  ],
  [
    'a sync generator',
    function* () {
      yield 'a';
      yield 'b';
    },
    TEXT,
    'ab',
  ],
  [
    'a sync generator of promises',
    function* () {
      yield Promise.resolve('a');
      yield 'b';
      yield Promise.resolve('c');
    },
    TEXT,
    'abc',
  ],
  ['an empty async generator', () => nothing(), NDJSON, ''],
  ['an array', () => [1, 'two', null, { three: [3] }], NDJSON, '1\n"two"\nnull\n{"three":[3]}\n'],
  ['an empty array', () => [], NDJSON, ''],
  ['a Set', () => new Set(['a', 'b']), TEXT, 'ab'],
  ['a Map', () => new Map([['a', 1]]), NDJSON, '["a",1]\n'],
  [
    'an async iterable that has only next()',
    () => {
      let i = 0;
      const next = async () => (++i > 2 ? { done: true, value: undefined } : { done: false, value: i });
      return { [Symbol.asyncIterator]: () => ({ next }) };
    },
    NDJSON,
    '1\n2\n',
  ],
  ['an Observable', () => of({ a: 1 }, { b: 2 }), NDJSON, '{"a":1}\n{"b":2}\n'],
  ['an Observable that emits later', () => from(Readable.from(['a', 'b'])), TEXT, 'ab'],
  ['an empty Observable', () => of(), NDJSON, ''],
  ['an Observable of a second copy of rxjs', () => secondOf('a', 'b'), TEXT, 'ab'],
  ['an object that only has Symbol.observable', foreignObservable, TEXT, 'ab'],
  [
    'a Readable of bytes',
    () => Readable.from([Buffer.from('a'), Buffer.from('b')], { objectMode: false }),
    BYTES,
    'ab',
  ],
  ['a Readable of objects', () => Readable.from([{ a: 1 }, { b: 2 }]), NDJSON, '{"a":1}\n{"b":2}\n'],
  ['a Readable with an encoding', () => createReadStream(file, { encoding: 'utf8', end: 4 }), TEXT, 'line\n'],
  ['an empty Readable', () => Readable.from([]), NDJSON, ''],
  ['a file', () => createReadStream(file), BYTES, 'line\n'.repeat(50_000)],
  ['a web ReadableStream of bytes', () => webStream(Buffer.from('a'), Buffer.from('b')), BYTES, 'ab'],
  ['a web ReadableStream of objects', () => webStream({ a: 1 }, { b: 2 }), NDJSON, '{"a":1}\n{"b":2}\n'],
  ['the body of a Blob', () => new Blob(['a', 'b']).stream(), BYTES, 'ab'],
  ['a string', () => 'añ', TEXT, 'añ'],
  ['an empty string', () => '', TEXT, ''],
  ['a Buffer', () => Buffer.from('ab'), BYTES, 'ab'],
  ['an ArrayBuffer', () => new TextEncoder().encode('ab').buffer, BYTES, 'ab'],
  ['a typed array', () => new TextEncoder().encode('ab'), BYTES, 'ab'],
];

describe.each(PLATFORMS)('%s: a handler may return', (platform) => {
  it.each(FINITE)('%s', async (_what, make, contentType, body) => {
    const response = await get(platform, make);

    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe(contentType);
    expect(await response.text()).toBe(body);
  });

  it.each(FINITE)('a promise of %s', async (_what, make, contentType, body) => {
    const response = await get(platform, async () => {
      await turn();
      return make();
    });

    expect(response.headers.get('content-type')).toBe(contentType);
    expect(await response.text()).toBe(body);
  });

  it('a thenable that is not a Promise', async () => {
    // biome-ignore lint/suspicious/noThenProperty: query builders are made like this
    const response = await get(platform, () => ({ then: (done: (value: unknown) => void) => done(['a']) }));

    expect(await response.text()).toBe('a');
  });

  it('an Observable<MessageEvent>, as for the @Sse() of Nest', async () => {
    @Controller()
    class Feed {
      @Sse('feed')
      feed(): Observable<MessageEvent> {
        return of<MessageEvent[]>({ data: { n: 1 }, id: '1', type: 'tick', retry: 5 }, { data: 'a\nb' });
      }
    }
    const { url } = await start(platform, Feed);

    const response = await fetch(url('/feed'));

    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(await response.text()).toBe('event: tick\nid: 1\nretry: 5\ndata: {"n":1}\n\ndata: a\ndata: b\n\n');
  });

  it('nothing, and push chunks', async () => {
    @Controller()
    class Tail {
      @Stream('tail', { format: 'ndjson' })
      async tail(@ConnectedStream() stream: StreamConnection<{ line: number }>): Promise<void> {
        stream.status(202).header('X-Tail', 'on');
        await stream.send({ line: 1 });
        await stream.send({ line: 2 });
        void stream.close();
      }
    }
    const { url } = await start(platform, Tail);

    const response = await fetch(url('/tail'));

    expect(response.status).toBe(202);
    expect(response.headers.get('x-tail')).toBe('on');
    expect(await response.text()).toBe('{"line":1}\n{"line":2}\n');
  });

  it('flush marks among its chunks, which are not sent', async () => {
    const response = await get(platform, () => ['a', flush(), 'b']);

    expect(await response.text()).toBe('ab');
  });
});

describe.each(PLATFORMS)('%s: a web Response', (platform) => {
  it('keeps its status, its headers and every cookie', async () => {
    const headers = new Headers([
      ['Content-Type', 'text/csv; header=present'],
      ['X-Own', 'yes'],
      ['Set-Cookie', 'a=1; Path=/'],
      ['Set-Cookie', 'b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT'],
    ]);
    const response = await get(platform, () => new Response('id\n1\n', { status: 206, headers }));

    expect(response.status).toBe(206);
    expect(response.headers.get('content-type')).toBe('text/csv; header=present');
    expect(response.headers.get('x-own')).toBe('yes');
    expect(response.headers.getSetCookie()).toEqual(['a=1; Path=/', 'b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT']);
    expect(await response.text()).toBe('id\n1\n');
  });

  it('has a status with precedence over that of the route', async () => {
    @Controller()
    class Made {
      @Stream('made')
      @HttpCode(202)
      made() {
        return new Response('x', { status: 201 });
      }
    }
    const { url } = await start(platform, Made);

    expect((await fetch(url('/made'))).status).toBe(201);
  });

  it.each([
    ['without a body', () => new Response(null, { status: 204 }), 204],
    ['without a body but with a status that may have one', () => new Response(null, { status: 200 }), 200],
    ['that is not modified', () => new Response(null, { status: 304, headers: { ETag: '"1"' } }), 304],
  ])('may be one %s', async (_what, make, status) => {
    const response = await get(platform, make);

    expect(response.status).toBe(status);
    expect(await response.text()).toBe('');
  });

  it('may redirect', async () => {
    const { url } = await start(
      platform,
      controllerOf(() => Response.redirect('http://example.org/', 307)),
    );

    const response = await fetch(url('/source'), { redirect: 'manual' });

    expect(response.status).toBe(307);
    expect(response.headers.get('location')).toBe('http://example.org/');
  });

  it('may be the value of a promise, as with fetch()', async () => {
    const response = await get(platform, async () => Response.json({ a: 1 }));

    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toEqual({ a: 1 });
  });

  it('is forwarded decoded, without the headers of its own connection', async () => {
    const upstream = createServer((_request, response) => {
      const body = gzipSync('x'.repeat(10_000));
      response.setHeader('Content-Encoding', 'gzip');
      response.setHeader('Content-Length', body.length);
      response.setHeader('Keep-Alive', 'timeout=77');
      response.setHeader('X-Upstream', 'yes');
      response.end(body);
    });
    const origin = await listening(upstream);
    try {
      const response = await get(platform, () => fetch(origin));

      expect(response.headers.get('x-upstream')).toBe('yes');
      expect(response.headers.get('content-encoding')).toBeNull();
      expect(response.headers.get('keep-alive')).not.toBe('timeout=77');
      expect(await response.text()).toBe('x'.repeat(10_000));
    } finally {
      upstream.closeAllConnections();
      upstream.close();
    }
  });

  it('of Response.error() causes a 500', async () => {
    const { url, logs } = await start(
      platform,
      controllerOf(() => Response.error()),
    );

    expect((await fetch(url('/source'))).status).toBe(500);
    expect(logs.of('error')).toHaveLength(1);
  });

  it('whose body fails half-way is cut off', async () => {
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (++pulls === 1) {
          controller.enqueue(Buffer.from('half'));
        } else {
          throw new Error('upstream gone');
        }
      },
    });
    const { port, logs } = await start(
      platform,
      controllerOf(() => new Response(body)),
    );

    const client = await RawClient.get(port, '/source');
    await client.closed();

    expect(client.body).toBe('half');
    expect(client.complete).toBe(false);
    expect(logs.of('error').join()).toContain('upstream gone');
  });
});

/** The response of an upstream server, read with the package node-fetch, whose bodies are streams of Node.js. */
describe.each(PLATFORMS)('%s: a Response of the node-fetch package', (platform) => {
  const upstream = createServer((request, response) => {
    const body = gzipSync('x'.repeat(10_000));
    response.statusCode = request.url === '/lost' ? 404 : 203;
    response.setHeader('Set-Cookie', ['a=1', 'b=2']);
    response.setHeader('Keep-Alive', 'timeout=77');
    response.setHeader('X-Upstream', 'yes');
    response.setHeader('Content-Encoding', 'gzip');
    response.setHeader('Content-Length', body.length);
    response.end(request.url === '/lost' ? gzipSync('lost') : body);
    if (request.url === '/half') {
      response.destroy();
    }
  });
  let origin = '';
  beforeAll(async () => {
    origin = await listening(upstream);
  });
  afterAll(() => {
    upstream.closeAllConnections();
    upstream.close();
  });

  it('keeps its status, its headers and every cookie, and is forwarded decoded', async () => {
    const response = await get(platform, () => nodeFetch(origin));

    expect(response.status).toBe(203);
    expect(response.headers.get('x-upstream')).toBe('yes');
    expect(response.headers.get('content-encoding')).toBeNull();
    expect(response.headers.get('keep-alive')).not.toBe('timeout=77');
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(await response.text()).toBe('x'.repeat(10_000));
  });

  it('stays encoded if node-fetch has not decoded it', async () => {
    const response = await get(platform, () => nodeFetch(origin, { compress: false }));

    expect(response.headers.get('content-encoding')).toBe('gzip');
    expect(await response.text()).toBe('x'.repeat(10_000));
  });

  it('may be created by the application', async () => {
    const response = await get(
      platform,
      () => new NodeFetchResponse('made', { status: 202, headers: { 'X-Own': '1' } }),
    );

    expect(response.status).toBe(202);
    expect(response.headers.get('x-own')).toBe('1');
    expect(await response.text()).toBe('made');
  });

  it('that was read already is refused', async () => {
    const response = await get(platform, async () => {
      const read = new NodeFetchResponse('made');
      await read.text();
      return read;
    });

    expect(response.status).toBe(500);
  });
});

describe.each(PLATFORMS)('%s: a StreamableFile', (platform) => {
  const pdf = { type: 'application/pdf', disposition: 'attachment; filename="a.pdf"', length: 4 };

  it.each<[string, () => StreamableFile]>([
    ['of a Readable', () => new StreamableFile(Readable.from([Buffer.from('ab'), Buffer.from('cd')]), pdf)],
    ['of a Buffer', () => new StreamableFile(Buffer.from('abcd'), { ...pdf, length: undefined })],
  ])('%s sets the type, the disposition and the length', async (_what, make) => {
    const response = await get(platform, make);

    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/pdf');
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="a.pdf"');
    expect(response.headers.get('content-length')).toBe('4');
    expect(response.headers.get('transfer-encoding')).toBeNull();
    expect(await response.text()).toBe('abcd');
  });

  it('without options has the type application/octet-stream', async () => {
    const response = await get(platform, () => new StreamableFile(Readable.from([Buffer.from('ab')])));

    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('content-disposition')).toBeNull();
    expect(await response.text()).toBe('ab');
  });

  it('does not replace headers and the status that the route has set', async () => {
    @Controller()
    class Files {
      @Stream('file')
      @HttpCode(203)
      @Header('Content-Type', 'image/png')
      @Header('Content-Disposition', 'inline')
      file() {
        return new StreamableFile(Buffer.from('ab'), pdf);
      }
    }
    const { url } = await start(platform, Files);

    const response = await fetch(url('/file'));

    expect(response.status).toBe(203);
    expect(response.headers.get('content-type')).toBe('image/png');
    expect(response.headers.get('content-disposition')).toBe('inline');
  });

  it('causes a response to HEAD with headers only', async () => {
    const { url } = await start(
      platform,
      controllerOf(() => new StreamableFile(Buffer.from('abcd'), pdf)),
    );

    const response = await fetch(url('/source'), { method: 'HEAD' });

    expect(response.headers.get('content-type')).toBe('application/pdf');
    expect(response.headers.get('content-length')).toBe('4');
  });

  it('of a missing file causes the same response as on a route of Nest', async () => {
    const response = await get(platform, () => new StreamableFile(createReadStream(join(folder, 'none')), pdf));

    expect(response.status).toBe(400);
    // The handler of Nest 11.0 tells the client the message of the error.
    const message: unknown = IS_NEST_11_0 ? expect.stringMatching(/^ENOENT: /) : 'Bad Request';
    expect(await response.json()).toEqual({ statusCode: 400, message });
    expect(response.headers.get('content-disposition')).toBeNull();
  });

  it('lets its own error handler respond', async () => {
    const response = await get(platform, () =>
      new StreamableFile(createReadStream(join(folder, 'none'))).setErrorHandler((_error, answer) => {
        answer.statusCode = 410;
        answer.send('moved away');
      }),
    );

    expect(response.status).toBe(410);
    expect(await response.json()).toEqual({ statusCode: 410, message: 'moved away' });
  });

  it('that fails half-way is cut off', async () => {
    const { port, logs } = await start(
      platform,
      controllerOf(() => new StreamableFile(Readable.from(halfway()), { length: 10 })),
    );

    const client = await RawClient.get(port, '/source');
    await client.closed();

    expect(client.body).toBe('half');
    expect(logs.of('error').join()).toContain('gone');
  });

  it('is stopped when the client disconnects', async () => {
    const stops = new Recorder();
    const { port } = await start(
      platform,
      controllerOf(
        () =>
          new StreamableFile(
            endlessReadable(() => stops.add('stopped'), { objectMode: false }, Buffer.from('x')) as Readable,
          ),
      ),
    );
    const client = await RawClient.get(port, '/source');
    await client.until('\r\n\r\n');

    client.disconnect();

    expect(await stops.count(1)).toEqual(['stopped']);
  });

  async function* halfway() {
    yield Buffer.from('half');
    await turn();
    throw new Error('gone');
  }
});

describe.each(PLATFORMS)('%s: a result that is returned to two requests', (platform) => {
  const slowly = async function* () {
    yield 'a';
    await turn();
    yield 'b';
  };
  const ONCE: readonly (readonly [what: string, make: () => unknown])[] = [
    ['an async generator', slowly],
    [
      'a sync generator',
      function* () {
        yield 'a';
        yield 'b';
      },
    ],
    ['an iterator of an array', () => ['a', 'b'][Symbol.iterator]()],
    [
      'an iterable that has one iterator',
      () => {
        const iterator = ['a', 'b'][Symbol.iterator]();
        return { [Symbol.iterator]: () => iterator };
      },
    ],
    ['a Readable', () => Readable.from(['a', 'b'])],
    ['a web ReadableStream', () => webStream('a', 'b')],
    ['a Response', () => new Response('ab')],
    ['a Response of node-fetch', () => new NodeFetchResponse('ab')],
    ['a StreamableFile', () => new StreamableFile(Buffer.from('ab'))],
  ];

  it.each(ONCE)('is sent to the first, and the others fail: %s', async (_what, make) => {
    const errors = new Recorder<unknown>();
    const one = make();
    const { url } = await launch(platform, {
      controllers: [controllerOf(() => one)],
      options: { hooks: { onError: errors.add } },
    });

    const responses = await Promise.all([fetch(url('/source')), fetch(url('/source')), fetch(url('/source'))]);
    const whole = responses.filter(({ status }) => status === 200);

    expect(responses.map(({ status }) => status).toSorted()).toEqual([200, 500, 500]);
    expect(await whole[0]?.text()).toBe('ab');
    expect(errors.seen).toMatchObject([{ code: 'invalid-source' }, { code: 'invalid-source' }]);
    expect((await fetch(url('/source'))).status).toBe(500);
  });

  it.each<[string, unknown]>([
    ['an array', ['a', 'b']],
    ['a Set', new Set(['a', 'b'])],
    ['an iterable', { [Symbol.iterator]: () => ['a', 'b'].values() }],
    ['an Observable', of('a', 'b')],
    ['a string', 'ab'],
  ])('is sent to both if it can be read repeatedly: %s', async (_what, one) => {
    const { text } = await start(
      platform,
      controllerOf(() => one),
    );

    expect(await Promise.all([text('/source'), text('/source')])).toEqual(['ab', 'ab']);
  });
});

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const broken = (): never => {
  throw new Error('broken');
};

const FAILING: readonly (readonly [what: string, make: () => unknown])[] = [
  ['the handler itself', broken],
  ['a rejected promise', () => Promise.reject(new Error('broken'))],
  [
    'an async generator',
    // biome-ignore lint/correctness/useYield: it fails before it yields
    async function* () {
      broken();
    },
  ],
  [
    'a sync generator',
    // biome-ignore lint/correctness/useYield: it fails before it yields
    function* () {
      broken();
    },
  ],
  ['what has no iterator', () => ({ [Symbol.asyncIterator]: broken })],
  ['an Observable', () => throwError(() => new Error('broken'))],
  ['an Observable whose subscription throws', () => new Observable(broken)],
  [
    'an Observable of a second copy of rxjs',
    () => new SecondObservable((subscriber) => subscriber.error(new Error('broken'))),
  ],
  ['a Readable', () => new Readable({ read: broken })],
  ['a Readable that had failed already', () => failed(new Error('broken'))],
  ['a file that is not there', () => createReadStream(join(folder, 'none'))],
  ['a web ReadableStream', () => new ReadableStream({ pull: broken })],
  [
    'a web ReadableStream that had failed already',
    () => new ReadableStream({ start: (it) => it.error(new Error('broken')) }),
  ],
];

async function failed(error: Error): Promise<Readable> {
  const readable = new Readable({ read: () => undefined });
  readable.destroy(error);
  await once(readable, 'error').catch(() => undefined);
  return readable;
}

describe.each(PLATFORMS)('%s: before the first byte', (platform) => {
  it.each(FAILING)('the failure of %s causes a 500', async (_what, make) => {
    const { url, logs } = await start(platform, controllerOf(make));

    const response = await fetch(url('/source'));

    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ statusCode: 500, message: 'Internal server error' });
    expect(logs.of('error').join()).toMatch(/broken|ENOENT/);
  });
});

class Row {}

const REFUSED: readonly (readonly [what: string, make: () => unknown, message: string])[] = [
  ['a number', () => 7, 'number'],
  ['zero', () => 0, 'number'],
  ['true', () => true, 'boolean'],
  ['a BigInt', () => 7n, 'bigint'],
  ['a symbol', () => Symbol('s'), 'symbol'],
  ['a function', () => () => [1], 'function'],
  ['a plain object', () => ({ a: 1 }), 'Object'],
  ['an object without a prototype', () => Object.create(null), 'an object'],
  ['an instance', () => new Row(), 'Row'],
  ['a Date', () => new Date(0), 'Date'],
  ['a promise of a number', async () => 7, 'number'],
  ['what can be subscribed to, but is no Observable', () => ({ subscribe: () => undefined }), 'Object'],
  ['a Readable that has ended', ended, 'it has ended or was destroyed'],
  [
    'a Readable that was destroyed',
    () => new Readable({ read: () => undefined }).destroy(),
    'has ended or was destroyed',
  ],
  ['a web ReadableStream that is locked', locked, 'it is locked to another reader'],
  ['a Response that was read', readResponse, 'its body has been read already'],
  ['a Response whose body is locked', lockedResponse, 'its body has been read already'],
  ['nothing, without a connection to push to', () => undefined, 'returned nothing and cannot push'],
  ['null, without a connection to push to', () => null, 'returned nothing and cannot push'],
];

async function ended(): Promise<Readable> {
  const readable = Readable.from(['a']);
  readable.resume();
  await once(readable, 'end');
  return readable;
}

function locked(): ReadableStream<unknown> {
  const stream = webStream('a');
  stream.getReader();
  return stream;
}

async function readResponse(): Promise<Response> {
  const response = new Response('a');
  await response.text();
  return response;
}

function lockedResponse(): Response {
  const response = new Response('a');
  response.body?.getReader();
  return response;
}

describe.each(PLATFORMS)('%s: a result that is not a source', (platform) => {
  it.each(REFUSED)('is refused: %s', async (_what, make, message) => {
    const app = await start(platform, controllerOf(make));

    const response = await fetch(app.url('/source'));

    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ statusCode: 500, message: 'Internal server error' });
    expect(app.logs.of('error')).toHaveLength(1);
    expect(app.logs.of('error')[0]).toContain(message);
    expect(app.logs.of('error')[0]).toContain('Sources.source');
    expect(app.registry.size).toBe(0);
  });

  it('causes a StreamError with the code invalid-source', async () => {
    const errors = new Recorder<unknown>();
    const app = await launch(platform, {
      controllers: [controllerOf(() => 7)],
      options: { hooks: { onError: errors.add } },
    });

    await fetch(app.url('/source'));

    expect(errors.seen).toEqual([expect.any(StreamError)]);
    expect(errors.seen).toMatchObject([{ code: 'invalid-source' }]);
  });
});

const ENDLESS: readonly (readonly [what: string, make: (stopped: () => void) => unknown])[] = [
  [
    'an async generator',
    async function* (stopped) {
      try {
        for (;;) {
          yield 'x';
          await turn();
        }
      } finally {
        stopped();
      }
    },
  ],
  [
    'a sync generator',
    function* (stopped) {
      try {
        for (;;) {
          yield 'x'.repeat(1_000);
        }
      } finally {
        stopped();
      }
    },
  ],
  [
    'an async iterable that never answers again',
    (stopped) => {
      let first = true;
      const next = () => {
        const answer = first ? Promise.resolve({ done: false, value: 'x' }) : new Promise(() => undefined);
        first = false;
        return answer;
      };
      return { [Symbol.asyncIterator]: () => ({ next, return: async () => stopped() }) };
    },
  ],
  [
    'a sync iterable',
    (stopped) => {
      const next = () => ({ done: false, value: 'x'.repeat(1_000) });
      const stop = () => {
        stopped();
        return { done: true };
      };
      return { [Symbol.iterator]: () => ({ next, return: stop }) };
    },
  ],
  [
    'an Observable',
    (stopped) =>
      new Observable((subscriber) => {
        subscriber.next('x');
        return stopped;
      }),
  ],
  [
    'an Observable of a second copy of rxjs',
    (stopped) =>
      new SecondObservable((subscriber) => {
        subscriber.next('x');
        return stopped;
      }),
  ],
  ['a Readable of bytes', (stopped) => endlessReadable(stopped, { objectMode: false }, Buffer.from('x'))],
  ['a Readable of objects', (stopped) => endlessReadable(stopped, { objectMode: true }, { x: 1 })],
  ['a file', (stopped) => createReadStream('/dev/zero').on('close', stopped)],
  ['a web ReadableStream', (stopped) => endlessWebStream(stopped)],
  ['a web Response', (stopped) => new Response(endlessWebStream(stopped))],
];

function endlessReadable(stopped: () => void, options: { objectMode: boolean }, chunk: unknown): Readable {
  return new Readable({
    ...options,
    read() {
      setImmediate(() => this.push(chunk));
    },
    destroy(error, done) {
      stopped();
      done(error);
    },
  });
}

function endlessWebStream(stopped: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      await turn();
      controller.enqueue(Buffer.from('x'));
    },
    cancel: stopped,
  });
}

describe.each(PLATFORMS)('%s: when the client disconnects,', (platform) => {
  async function leave(make: (stopped: () => void) => unknown): Promise<string[]> {
    const stops = new Recorder();
    const closes = new Recorder();
    const app = await launch(platform, {
      controllers: [controllerOf(() => make(() => stops.add('stopped')))],
      options: { hooks: { onClose: (_, reason) => closes.add(reason.code) } },
    });
    try {
      const client = await RawClient.get(app.port, '/source');
      await client.until('\r\n\r\n');
      expect(stops.seen).toEqual([]);
      client.disconnect();
      await stops.count(1);
      expect(await closes.count(1)).toEqual(['client-closed']);
      expect(app.registry.size).toBe(0);
    } finally {
      await app.close();
    }
    expect(app.logs.of('error')).toEqual([]);
    return stops.seen;
  }

  it.each(ENDLESS)('%s is stopped once', async (_what, make) => {
    expect(await leave(make)).toEqual(['stopped']);
  });

  it.each(ENDLESS)('a promise of %s is stopped once', async (_what, make) => {
    expect(
      await leave(async (stopped) => {
        await turn();
        return make(stopped);
      }),
    ).toEqual(['stopped']);
  });

  it('a handler that pushes is notified by its signal and its hooks', async () => {
    const notified = new Recorder();
    @Controller()
    class Tail {
      @Stream('tail', { format: 'text' })
      tail(@ConnectedStream() stream: StreamConnection<string>, @StreamSignal() signal: AbortSignal): void {
        signal.addEventListener('abort', () => notified.add(`signal ${(signal.reason as StreamCloseError).code}`));
        stream.hooks({ onClose: (_, { code }) => notified.add(`hook ${code}`) });
        void stream.send('x');
      }
    }
    const { port } = await start(platform, Tail);

    const client = await RawClient.get(port, '/tail');
    await client.until('x');
    client.disconnect();

    expect(await notified.count(2)).toEqual(['signal client-closed', 'hook client-closed']);
  });

  it('a Subject has no observer left, and later values are ignored', async () => {
    const subject = new Subject<string>();
    const closes = new Recorder();
    const app = await launch(platform, {
      controllers: [controllerOf(() => subject, { format: 'text' })],
      options: { openDelay: 10, hooks: { onClose: () => closes.add('closed') } },
    });

    const client = await RawClient.get(app.port, '/source');
    await client.until('\r\n\r\n');
    expect(subject.observed).toBe(true);
    client.disconnect();
    await closes.count(1);

    expect(subject.observed).toBe(false);
    subject.next('late');
    expect(app.logs.of('error')).toEqual([]);
  });

  it('a source that the handler returns after that is stopped without being read', async () => {
    const called = new Recorder();
    const stops = new Recorder();
    const closes = new Recorder();
    const app = await launch(platform, {
      controllers: [
        controllerOf(async () => {
          called.add('called');
          await closes.count(1);
          return endlessReadable(() => stops.add('stopped'), { objectMode: false }, Buffer.from('x'));
        }),
      ],
      options: { hooks: { onClose: () => closes.add('closed') } },
    });

    const client = await RawClient.get(app.port, '/source');
    await called.count(1);
    client.disconnect();

    expect(await stops.count(1)).toEqual(['stopped']);
  });
});

describe.each(PLATFORMS)('%s: a source that ends by itself', (platform) => {
  it.each([
    ['an async iterable', (stopped: () => void) => ({ [Symbol.asyncIterator]: () => iteratorOf(stopped) })],
    ['a web ReadableStream', (stopped: () => void) => webStreamThatEnds(stopped)],
  ])('is not stopped: %s', async (_what, make) => {
    const stops = new Recorder();
    const response = await get(platform, () => make(() => stops.add('stopped')));

    expect(await response.text()).toBe('x');
    expect(stops.seen).toEqual([]);
  });

  it('unsubscribes from an Observable once', async () => {
    const stops = new Recorder();
    const response = await get(
      platform,
      () =>
        new Observable((subscriber) => {
          subscriber.next('x');
          subscriber.complete();
          return () => stops.add('stopped');
        }),
    );

    expect(await response.text()).toBe('x');
    expect(stops.seen).toEqual(['stopped']);
  });

  it('does not end a stream that waits for an Observable that never emits', async () => {
    const app = await launch(platform, {
      controllers: [controllerOf(() => NEVER, { format: 'sse' })],
      options: { openDelay: 10 },
    });

    const client = await RawClient.get(app.port, '/source');
    await client.until('\r\n\r\n');

    expect(app.registry.size).toBe(1);
    client.disconnect();
  });
});

function iteratorOf(stopped: () => void): AsyncIterator<string> {
  let i = 0;
  return {
    next: async () => (++i > 1 ? { done: true, value: undefined } : { done: false, value: 'x' }),
    return: async () => {
      stopped();
      return { done: true, value: undefined };
    },
  };
}

function webStreamThatEnds(stopped: () => void): ReadableStream<unknown> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue('x');
      controller.close();
    },
    cancel: stopped,
  });
}
