import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, Header, HttpException, Query, Redirect, Req } from '@nestjs/common';
import type { BrowserContext, Page } from 'playwright-core';
import { ConnectedStream, LastEventId, Sse, type StreamConnection, type StreamEvent } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { Recorder } from '../support/events.js';
import { type RunningApp, useApps } from '../support/running.js';
import { itWith, toolPath } from '../support/tools.js';

// The cases of the eventsource suite of the Web Platform Tests, written anew for this package: whatever a
// route writes, and whatever a returned `Response` contains, the EventSource of Chromium reads as the WHATWG text says.

/** An event as a page receives it. */
interface Received {
  readonly type: string;
  readonly data: string;
  readonly id: string;
}

/** The event after which a page has received everything that a case is about. */
const DONE = 'event: done\ndata\n\n';

const message = (data: string, id = ''): Received => ({ type: 'message', data, id });

/** Bytes of a returned `Response`, and what a page receives of them. */
const BYTES: readonly [string, string, readonly Received[]][] = [
  ['one byte order mark at the start is skipped', '\ufeffdata: 1\n\n', [message('1')]],
  ['a second byte order mark belongs to the name of the field', '\ufeff\ufeffdata: 1\n\ndata: 2\n\n', [message('2')]],
  [
    'a byte order mark in a later record is not skipped',
    'data: 1\n\n\ufeffdata: 2\n\ndata: 3\n\n',
    ['1', '3'].map((each) => message(each)),
  ],
  [
    'comments are skipped, also long ones',
    `data: 1\r:\0\n:\r\ndata: 2\n:${'x'.repeat(2_000)}\rdata: 3\n:data: fail\r\n\n`,
    [message('1\n2\n3')],
  ],
  ['the three kinds of line ends may be mixed', 'data: a\r\ndata: b\ndata: c\rdata\n\n', [message('a\nb\nc\n')]],
  ['a field without a colon is an empty one', 'data\n\ndata\ndata\n\n', [message(''), message('\n')]],
  [
    'one leading space of a value is removed, and no more',
    'data:\tx\rdata: \ty\n\ndata:  z\n\n',
    [message('\tx\n\ty'), message(' z')],
  ],
  ['the names of fields are compared with their case', 'Data: 1\nDATA: 2\ndata: 3\n\n', [message('3')]],
  ['a field that is unknown is skipped', 'data: x\n data: y\ndatas: z\nfoo:bar\ndata: ok\n\n', [message('x\nok')]],
  ['a record without data is not dispatched', 'event: message\n\nid: 7\n\ndata: x\n\n', [message('x', '7')]],
  [
    'the type of a record is forgotten after it',
    'event: other\ndata: 1\n\ndata: 2\n\n',
    [{ type: 'other', data: '1', id: '' }, message('2')],
  ],
  ['an empty type is `message`', 'event: other\nevent:\ndata: 1\n\n', [message('1')]],
  [
    'the id stays for the records after it',
    'id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n',
    [message('a', '1'), message('b', '1'), message('c')],
  ],
  [
    'an id that contains a NUL is ignored',
    'id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n',
    [message('a', '1'), message('b', '1')],
  ],
  ['data keeps a NUL', 'data: a\0b\n\n', [message('a\0b')]],
  ['a retry that is not digits is ignored', 'retry: 1000x\nretry: -1\nretry:\ndata: a\n\n', [message('a')]],
  ['text is UTF-8, whatever the parameters say', 'data: ok…👋🏽\n\n', [message('ok…👋🏽')]],
];

/** Values of a route, and what a page receives of them. */
const VALUES: readonly [string, readonly unknown[], readonly Received[]][] = [
  [
    'strings with every kind of line end',
    ['a\r\nb\nc\rd', '\n', ''],
    [message('a\nb\nc\nd'), message('\n'), message('')],
  ],
  ['leading spaces and tabs', [' a', '\tb', '  c '], [message(' a'), message('\tb'), message('  c ')]],
  [
    'what looks like a field or a comment',
    ['data: x', ':x', 'id: 7\nevent: y'],
    [message('data: x'), message(':x'), message('id: 7\nevent: y')],
  ],
  ['a byte order mark and NUL in data', ['\ufeffa', 'b\0c'], [message('\ufeffa'), message('b\0c')]],
  [
    'JSON of every kind',
    [{ a: [1, null] }, 0, false, [1, 2]],
    ['{"a":[1,null]}', '0', 'false', '[1,2]'].map((each) => message(each)),
  ],
  ['comments of several lines', [{ comment: 'a\ndata: no\r\nevent: no' }, 'b'], [message('b')]],
  [
    'an id until another one, and an empty one',
    [{ id: 'ü-1', data: 'a' }, 'b', { id: '', data: 'c' }],
    [message('a', 'ü-1'), message('b', 'ü-1'), message('c')],
  ],
  [
    'types, and the default after them',
    [{ type: 'other', data: '1' }, '2', { type: '', data: '3' }],
    [{ type: 'other', data: '1', id: '' }, message('2'), message('3')],
  ],
  [
    'a type with spaces and colons',
    [{ type: 'other', data: { x: ': y' } }],
    [{ type: 'other', data: '{"x":": y"}', id: '' }],
  ],
  [
    'characters outside the first plane',
    ['👋🏽 𝒳', { id: '👋🏽', data: '…' }],
    [message('👋🏽 𝒳'), message('…', '👋🏽')],
  ],
];

/** Every response after which an EventSource gives up. */
const FATAL = [204, 205, 400, 401, 404, 410, 500, 503];

/** A script for a page: what an EventSource dispatches until the event `done`. */
const collect = (url: string): string => `new Promise((resolve, reject) => {
  const source = new EventSource('${url}');
  const received = [];
  const keep = ({ type, data, lastEventId }) => received.push({ type, data, id: lastEventId });
  source.addEventListener('message', keep);
  source.addEventListener('other', keep);
  source.addEventListener('done', () => { source.close(); resolve(received); });
  source.addEventListener('error', () => { source.close(); reject(new Error(JSON.stringify(received))); });
})`;

/** A script for a page: the first of \`open\` and \`error\`, and the state of the EventSource then. */
const outcome = (url: string, withCredentials = false): string => `new Promise((resolve) => {
  const source = new EventSource('${url}', { withCredentials: ${withCredentials} });
  const report = ({ type }) => { resolve(type + ' ' + source.readyState); source.close(); };
  source.addEventListener('open', report);
  source.addEventListener('error', report);
})`;

/** A script for a page: follows a stream, with all its endings, until the event \`done\`. */
const follow = (url: string): string => `new Promise((resolve) => {
  const source = new EventSource('${url}');
  const seen = [];
  source.onmessage = ({ data, lastEventId }) => seen.push(lastEventId + ' ' + data);
  source.onerror = () => seen.push('error ' + source.readyState);
  source.addEventListener('done', () => { source.close(); resolve(seen); });
})`;

/** A script for a page: opens an EventSource of the page or of a frame in it, and waits until it is open. */
const openIn = (where: 'window' | 'frame.contentWindow'): string => `new Promise((resolve) => {
  frame = document.body.appendChild(document.createElement('iframe'));
  source = new ${where}.EventSource(new URL('/open', location.href));
  source.onopen = () => resolve();
})`;

describe.each(PLATFORMS)('%s: the EventSource of Chromium', (platform) => {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  const it = itWith('chromium');
  const itEach = <T>(cases: readonly T[], name: (each: T) => string, run: (each: T) => Promise<void>): void => {
    for (const each of cases) {
      it(name(each), () => run(each));
    }
  };
  let context: BrowserContext | undefined;
  let page: Page;
  const servers: Server[] = [];
  let requests: Recorder<IncomingMessage>;
  let streams: Recorder<StreamConnection>;
  let ids: Recorder<string | undefined>;

  afterEach(async () => {
    await page?.close();
    // A browser keeps unused connections open.
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
    }
  });

  // Registered after the hook above, because hooks of Jest run in reverse order.
  const launch = useApps();

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    context = executablePath === undefined ? undefined : await launchChromium(executablePath, profile);
  }, 60_000);

  afterAll(async () => {
    await context?.close();
    rmSync(profile, { recursive: true, force: true });
  });

  beforeEach(async () => {
    if (context) {
      const app = await start();
      servers.push(app.app.getHttpServer() as Server);
      page = await context.newPage();
      await page.goto(app.url('/page'));
    }
  });

  function start(): Promise<RunningApp> {
    requests = new Recorder();
    streams = new Recorder();
    ids = new Recorder();

    @Controller()
    class Source {
      @Get('page')
      @Header('content-type', 'text/html')
      page() {
        return '<!doctype html><title>page</title>';
      }

      @Get('worker.js')
      @Header('content-type', 'text/javascript')
      worker(@Query('shared') shared?: string) {
        const port = shared === undefined ? 'self' : 'event.ports[0]';
        const begin = `const source = new EventSource('/values?case=0'); const port = ${port};
          source.addEventListener('done', () => { source.close(); port.postMessage('done'); });`;
        return shared === undefined ? begin : `addEventListener('connect', (event) => { ${begin} });`;
      }

      @Sse('bytes')
      bytes(@Query('case') index: number, @Query('type') type = 'text/event-stream') {
        return new Response(`${BYTES[index]?.[1]}${DONE}`, { headers: { 'content-type': type } });
      }

      @Sse('values')
      *values(@Query('case') index: number) {
        yield* VALUES[index]?.[1] ?? [];
        yield { type: 'done', data: '' };
      }

      @Sse('open')
      open(@ConnectedStream() stream: StreamConnection) {
        requests.add(((stream.request as { raw?: IncomingMessage }).raw ?? stream.request) as IncomingMessage);
        streams.add(stream.open());
      }

      @Sse('cors')
      cors(@ConnectedStream() stream: StreamConnection, @Req() request: { headers: IncomingMessage['headers'] }) {
        stream.header('Access-Control-Allow-Origin', request.headers.origin ?? '');
        stream.header('Access-Control-Allow-Credentials', 'true');
        streams.add(stream.open());
        requests.add(request as IncomingMessage);
      }

      @Sse('cors/any')
      corsAny(@ConnectedStream() stream: StreamConnection) {
        stream.header('Access-Control-Allow-Origin', '*').open();
      }

      @Sse('resuming')
      *resuming(@LastEventId() after?: string) {
        ids.add(after);
        yield { retry: 1 };
        yield { id: `${after ?? 'begin'}-ö`, data: 'x' } satisfies StreamEvent;
        if (ids.seen.length === 3) {
          yield { type: 'done', data: '' };
        }
      }

      @Sse('cut')
      cut(@LastEventId() after?: string) {
        ids.add(after);
        const rest = after === undefined ? 'id: 2\ndata: lost\n' : `id: 3\ndata: last\n\n${DONE}`;
        return new Response(`retry: 1\nid: 1\ndata: first\n\n${rest}`, {
          headers: { 'content-type': 'text/event-stream' },
        });
      }

      @Get('moved/:status')
      @Redirect('/values?case=0')
      moved(@Req() request: { params: { status: string } }) {
        return { url: '/values?case=0', statusCode: Number(request.params.status) };
      }

      @Sse('fails/:status')
      fails(@Req() request: { params: { status: string } }, @ConnectedStream() stream: StreamConnection) {
        const status = Number(request.params.status);
        if (status >= 400) {
          throw new HttpException('no', status);
        }
        stream.status(status).open();
      }
    }
    return launch(platform, { controllers: [Source] });
  }

  for (const [index, [name, , expected]] of BYTES.entries()) {
    it(`reads the unchanged bytes of a returned Response: ${name}`, async () => {
      expect(await page.evaluate(collect(`/bytes?case=${index}`))).toEqual(expected);
    });
  }

  for (const [index, [name, , expected]] of VALUES.entries()) {
    it(`receives what a route yields: ${name}`, async () => {
      expect(await page.evaluate(collect(`/values?case=${index}`))).toEqual(expected);
    });
  }

  it('sends Accept and Cache-Control, and is open before the first event', async () => {
    expect(await page.evaluate(outcome('/open'))).toBe('open 1');

    const [request] = await requests.count(1);
    expect(request?.headers).toMatchObject({ accept: 'text/event-stream', 'cache-control': 'no-cache' });
  });

  itEach(
    [
      ['text/event-stream;', 'open 1'],
      ['text/event-stream;charset=UTF-8', 'open 1'],
      ['text/event-streamx', 'error 2'],
      ['x/y', 'error 2'],
    ],
    ([type, state]) => `that is answered with the type ${type} has the state "${state}"`,
    async ([type = '', state]) => {
      expect(await page.evaluate(outcome(`/bytes?case=0&type=${encodeURIComponent(type)}`))).toBe(state);
    },
  );

  itEach(
    FATAL,
    (status) => `gives up on the status ${status}`,
    async (status) => {
      expect(await page.evaluate(outcome(`/fails/${status}`))).toBe('error 2');
    },
  );

  itEach(
    [301, 302, 303, 307, 308],
    (status) => `follows a redirect of the status ${status}`,
    async (status) => {
      expect(await page.evaluate(collect(`/moved/${status}`))).toEqual(VALUES[0]?.[2]);
    },
  );

  it('reconnects after the end of a stream with its last id, in UTF-8', async () => {
    const received = await page.evaluate(follow('/resuming'));

    const [first, second, third] = ['begin-ö', 'begin-ö-ö', 'begin-ö-ö-ö'];
    expect(received).toEqual([`${first} x`, 'error 0', `${second} x`, 'error 0', `${third} x`]);
    expect(ids.seen).toEqual([undefined, first, second]);
  });

  it('does not dispatch an incomplete record, and reconnects with the id before it', async () => {
    const received = await page.evaluate(follow('/cut'));

    expect(received).toEqual(['1 first', 'error 0', '1 first', '3 last']);
    expect(ids.seen).toEqual([undefined, '1']);
  });

  itEach(
    [
      ['closes it', 'window', () => page.evaluate('source.close()')],
      ['is replaced by another page', 'window', () => page.goto('about:blank')],
      ['removes the frame that opened it', 'frame.contentWindow', () => page.evaluate('frame.remove()')],
    ] as const,
    ([how]) => `ends the stream when its page ${how}`,
    async ([, where, leave]) => {
      await page.evaluate(openIn(where));
      const [stream] = await streams.count(1);
      const over = new Promise((resolve) => stream?.signal.addEventListener('abort', resolve));

      await leave();

      await over;
      expect(stream?.signal.reason).toMatchObject({ code: 'client-closed' });
    },
  );

  it('dispatches nothing after it was closed by the handler of an event in the same packet', async () => {
    const received = await page.evaluate(`new Promise((resolve) => {
      const source = new EventSource('/values?case=5');
      const seen = [];
      source.addEventListener('done', () => seen.push('done'));
      source.onmessage = ({ data }) => {
        seen.push(data);
        source.close();
        setTimeout(() => resolve([...seen, source.readyState]));
      };
    })`);
    expect(received).toEqual(['b', 2]);
  });

  it('can be opened by pages of other origins only if the route allows it, with or without credentials', async () => {
    // Another port is another origin, but the same site, to which cookies are sent.
    await page.context().addCookies([{ name: 'session', value: 'a1', domain: '127.0.0.1', path: '/' }]);
    const other = await start();
    servers.push(other.app.getHttpServer() as Server);
    const states = [];
    for (const [path, withCredentials] of [
      ['/open', false],
      ['/cors/any', false],
      ['/cors/any', true],
      ['/cors', false],
      ['/cors', true],
    ] as const) {
      states.push(await page.evaluate(outcome(other.url(path), withCredentials)));
    }

    expect(states).toEqual(['error 2', 'open 1', 'error 2', 'open 1', 'open 1']);
    const [, without, including] = await requests.count(3);
    expect(without?.headers.cookie).toBeUndefined();
    expect(including?.headers.cookie).toBe('session=a1');
  });

  itEach(
    [
      ['a dedicated worker', `new Worker('/worker.js')`],
      ['a shared worker', `new SharedWorker('/worker.js?shared=1').port`],
    ],
    ([name]) => `reads a stream in ${name}`,
    async ([, port]) => {
      const script = `new Promise((resolve) => { (worker = ${port}).onmessage = ({ data }) => resolve(data); })`;
      expect(await page.evaluate(script)).toBe('done');
    },
  );
});
