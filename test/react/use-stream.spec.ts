import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Header,
  Param,
  Post,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { build } from 'esbuild';
import type { BrowserContext, Page } from 'playwright-core';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import type { StreamItem } from '../../lib/client/index.js';
import {
  ConnectedStream,
  Hub,
  InjectHub,
  LastEventId,
  Stream,
  StreamConnection,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import { useStream } from '../../lib/react/index.js';
import { bundledPage } from '../support/bundled-page.js';
import { launchChromium } from '../support/chromium.js';
import { ROOT } from '../support/documentation.js';
import { Recorder } from '../support/events.js';
import { hubOf, publishAll } from '../support/hub.js';
import { type RunningApp, untilStable, useApps } from '../support/running.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { describeWith, toolPath } from '../support/tools.js';

import.meta.jest.setTimeout(60_000);

/** A page that shows streams: `show({ name, url, options })` renders a component for each. `options` is called for each render. */
const PAGE = `import { Component, StrictMode, useEffect, version } from 'react';
import { flushSync } from 'react-dom';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { useStream } from 'nestjs-streaming/react';

window.version = version;
window.commits = {};
window.results = {};
window.frames = 0;
(function count() { window.frames++; requestAnimationFrame(count); })();

const reasonOf = (error) => error?.body?.message ?? error?.message;

function View({ name, url, options }) {
  const result = useStream(url, options?.());
  useEffect(() => { window.commits[name] = (window.commits[name] ?? 0) + 1; });
  window.results[name] = result;
  const { state, data, error } = result;
  return <output id={name}>{[state, JSON.stringify(data), reasonOf(error)].filter(Boolean).join(' ')}</output>;
}

class Boundary extends Component {
  state = { error: undefined };
  static getDerivedStateFromError(error) { return { error }; }
  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return <output id={this.props.name}>caught {reasonOf(error)} <button onClick={() => this.setState({ error: undefined })}>Try again</button></output>;
  }
}

const tree = (views) => <StrictMode>{views.map((view) => <Boundary key={view.name} name={view.name}><View {...view} /></Boundary>)}</StrictMode>;
let root;
window.show = (...views) => flushSync(() => (root ??= createRoot(document.getElementById('root'))).render(tree(views)));
window.markup = (...views) => renderToString(tree(views));
window.hydrate = (...views) => { root = hydrateRoot(document.getElementById('root'), tree(views)); };
window.all = () => ({ initial: [], reduce: (all, { data }) => [...all, data] });
`;

const REACT_18 = { react: 'react-18', 'react-dom': 'react-dom-18' };
/** Connections to it are refused. */
const NO_PORT = 1;
const MATRIX = [
  ['express', 19],
  ['fastify', 19],
  // What differs between the versions of React is in the page.
  ['express', 18],
] as const;

const HUB = StreamingModule.registerHub({ name: 'notes' });
/** The page, by the version of React. */
const pages = new Map<string, string>();
/** How many items the endless stream has yielded. */
let yielded = 0;
/** The answers that wait for a token. */
let tokens: Recorder<(token: string | undefined) => void>;

class Login implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    if (context.switchToHttp().getRequest().headers.authorization !== 'Bearer 2') {
      throw new UnauthorizedException('Log in');
    }
    return true;
  }
}

@Controller()
class Feed {
  constructor(@InjectHub('notes') private readonly hub: Hub<number>) {}

  @Get('react/:version')
  @Header('Content-Type', 'text/html; charset=utf-8')
  page(@Param('version') version: string) {
    return pages.get(version);
  }

  @Stream('notes', { format: 'sse' })
  notes(@LastEventId() after?: string) {
    return this.hub.subscribe(after ? { after } : { last: 100 });
  }

  @Stream('private', { format: 'sse' })
  @UseGuards(Login)
  private(@LastEventId() after?: string) {
    return this.notes(after);
  }

  /** An answer whose tokens the test sends. */
  @Post('chat')
  @Stream({ format: 'ndjson' })
  async *chat(@Body() { prompt }: { prompt: string }, @StreamSignal() signal: AbortSignal) {
    yield { token: `${prompt}:` };
    for (;;) {
      const token = await new Promise<string | undefined>((resolve, reject) => {
        signal.addEventListener('abort', reject);
        tokens.add(resolve);
      });
      if (token === undefined) return;
      if (token === 'fail') throw new Error('secret');
      yield { token };
    }
  }

  @Stream('many', { format: 'ndjson' })
  async *many() {
    for (let n = 1; n <= 1_000; n++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      yield n;
    }
  }

  /** Items without an end. */
  @Stream('endless', { format: 'ndjson' })
  *endless() {
    for (;;) {
      yielded++;
      yield 'x'.repeat(1_000);
    }
  }

  @Stream('echo', { format: 'ndjson' })
  async echo(@ConnectedStream() stream: StreamConnection<unknown>) {
    await stream.send('hello');
    for await (const message of stream.messages) await stream.send(String(message));
  }
}

describeWith('chromium')('useStream()', () => {
  const launch = useApps();
  let browser: BrowserContext;
  let profile: string;

  beforeAll(async () => {
    pages.set('19', await bundledPage(PAGE));
    pages.set('18', await bundledPage(PAGE, { alias: REACT_18 }));
    profile = await mkdtemp(join(tmpdir(), 'use-stream-'));
    browser = await launchChromium(toolPath('chromium') ?? '', profile);
  });

  afterAll(async () => {
    await browser?.close();
    await rm(profile, { recursive: true, force: true });
  });

  describe.each(MATRIX)('on %s, with React %i', (platform, version) => {
    let app: RunningApp;
    let proxy: TcpProxy;
    let page: Page;
    let opened: Recorder;
    let closed: Recorder;
    let problems: string[];

    const start = () =>
      launch(platform, {
        controllers: [Feed],
        imports: [HUB],
        options: {
          websocket: true,
          hooks: { onOpen: ({ route }) => opened.add(route), onClose: ({ route }) => closed.add(route) },
        },
      });
    const publish = async (...notes: number[]) => {
      await publishAll(hubOf(app, 'notes'), notes);
    };

    beforeEach(async () => {
      tokens = new Recorder();
      opened = new Recorder();
      closed = new Recorder();
      problems = [];
      app = await start();
      proxy = await TcpProxy.start(app.port);
      page = await browser.newPage();
      page.on('pageerror', (error) => problems.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
          problems.push(message.text());
        }
      });
      await page.goto(`${origin()}/react/${version}`);
      expect(await page.evaluate('version')).toMatch(new RegExp(`^${version}\\.`));
    });

    afterEach(async () => {
      await page.close();
      await proxy.stop();
      expect(problems).toEqual([]);
    });

    const origin = () => `http://127.0.0.1:${proxy.port}`;

    /** Waits until a component shows a text. */
    const shows = async (name: string, text: string) => {
      const locator = page.locator(`#${name}`);
      try {
        await locator.and(page.getByText(text, { exact: true })).waitFor({ timeout: 15_000 });
      } catch {
        throw new Error(`#${name} shows ${await locator.allTextContents()}, and not ${text}`);
      }
    };

    it('renders items, and in StrictMode opens one connection, which it closes after the component was unmounted', async () => {
      await publish(1);
      await page.evaluate("show({ name: 'a', url: '/notes' })");
      await shows('a', 'open 1');
      await publish(2);
      await shows('a', 'open 2');
      await page.evaluate('show()');
      await closed.count(1);
      expect(opened.seen).toHaveLength(1);
    });

    it('two components with the same URL share one connection and its value, also if one is mounted later', async () => {
      await page.evaluate("show({ name: 'a', url: '/notes', options: all })");
      await opened.count(1);
      await publish(1, 2);
      await shows('a', 'open [1,2]');
      await page.evaluate(
        "show({ name: 'a', url: '/notes', options: all }, { name: 'b', url: '/notes', options: all }, { name: 'c', url: '/notes' })",
      );
      await shows('b', 'open [1,2]');
      await shows('c', 'open 2');
      await page.evaluate("show({ name: 'b', url: '/notes', options: all })");
      await publish(3);
      await shows('b', 'open [1,2,3]');
      expect([opened.seen.length, closed.seen.length]).toEqual([1, 0]);
    });

    it('a change of route keeps the connection if the next route uses it', async () => {
      await page.evaluate("show({ name: 'a', url: '/notes', options: all })");
      await opened.count(1);
      await publish(1);
      await shows('a', 'open [1]');
      await page.evaluate('show(), new Promise((resolve) => setTimeout(resolve))');
      await publish(2);
      await page.evaluate("show({ name: 'b', url: '/notes', options: all })");
      await shows('b', 'open [1,2]');
      expect([opened.seen.length, closed.seen.length]).toEqual([1, 0]);
    });

    it('two components that exchange their URLs keep both connections', async () => {
      const [one, two] = ["url: '/notes', options: all", "url: '/notes?two', options: all"];
      await publish(1);
      await page.evaluate(`show({ name: 'a', ${one} }, { name: 'b', ${two} })`);
      await shows('a', 'open [1]');
      await shows('b', 'open [1]');
      await page.evaluate(
        `show({ name: 'a', ${two} }, { name: 'b', ${one} }), new Promise((resolve) => setTimeout(resolve))`,
      );
      await publish(2);
      await shows('a', 'open [1,2]');
      await shows('b', 'open [1,2]');
      expect([opened.seen.length, closed.seen.length]).toEqual([2, 0]);
    });

    it('reconnect() while items are read resumes after the last one that was seen', async () => {
      await publish(1, 2, 3);
      await page.evaluate(
        "show({ name: 'a', url: '/notes', options: () => ({ ...all(), onItem: ({ data }) => data === 2 && results.a.reconnect() }) })",
      );
      await shows('a', 'open [1,2,3]');
      await opened.count(2);
    });

    it('a component with another URL leaves the first one at once, and shows nothing of it', async () => {
      await page.evaluate("show({ name: 'a', url: '/notes', options: all })");
      await opened.count(1);
      await publish(1);
      await shows('a', 'open [1]');
      await page.evaluate("show({ name: 'a', url: '/notes?again', options: all })");
      await shows('a', 'open [1]');
      await closed.count(1);
      await page.evaluate("show({ name: 'a', url: null, options: all })");
      await shows('a', 'idle []');
      await closed.count(2);
      expect(opened.seen).toHaveLength(2);
    });

    it('another key opens another connection, and the same key keeps one although the URL is a new function', async () => {
      await page.evaluate("show({ name: 'a', url: () => '/notes', options: () => ({ key: 'one', ...all() }) })");
      await opened.count(1);
      await page.evaluate("show({ name: 'a', url: () => '/notes', options: () => ({ key: 'one', ...all() }) })");
      await publish(1);
      await shows('a', 'open [1]');
      expect(opened.seen).toHaveLength(1);
      await page.evaluate("show({ name: 'a', url: () => '/notes', options: () => ({ key: 'two', ...all() }) })");
      await opened.count(2);
      await shows('a', 'open [1]');
    });

    it('a function as the URL, or a body that is not JSON, is refused without a key', async () => {
      await page.evaluate(
        "show({ name: 'a', url: () => '/notes' }, { name: 'b', url: '/chat', options: () => ({ method: 'POST', body: new Blob() }) })",
      );
      await shows('a', 'caught useStream() needs the option "key" for this url or body Try again');
      await shows('b', 'caught useStream() needs the option "key" for this url or body Try again');
      // React reports what a boundary has caught.
      expect(problems.splice(0).join()).toContain('needs the option');
    });

    it('a value grows with each token of a POST, close() stops the model, and its tokens stay', async () => {
      await page.evaluate(
        "show({ name: 'a', url: '/chat', options: () => ({ method: 'POST', body: { prompt: 'why' }, as: 'ndjson', initial: '', reduce: (text, { data }) => text + data.token }) })",
      );
      const [send] = await tokens.count(1);
      send?.(' be');
      const [, next] = await tokens.count(2);
      next?.('cause');
      await shows('a', 'open "why: because"');
      await page.evaluate('results.a.close()');
      await shows('a', 'closed "why: because"');
      await closed.count(1);
      await page.evaluate('results.a.reconnect()');
      await shows('a', 'open "why:"');
    });

    it('an answer that fails shows its tokens and the error, and one that ends shows no error', async () => {
      const options =
        "() => ({ method: 'POST', body: { prompt: 'why' }, as: 'ndjson', initial: '', reduce: (text, { data }) => text + data.token })";
      await page.evaluate(`show({ name: 'a', url: '/chat', options: ${options} })`);
      (await tokens.count(1))[0]?.('fail');
      await shows('a', 'closed "why:" Internal server error');
      await page.evaluate('show()');
      await page.evaluate(`show({ name: 'b', url: '/chat', options: ${options} })`);
      (await tokens.count(2))[1]?.(undefined);
      await shows('b', 'closed "why:"');
    });

    it('a status of 401 ends the stream, and reconnect() tries again with the headers of the last render', async () => {
      const show = (token: number) =>
        page.evaluate(
          `show({ name: 'a', url: '/private', options: () => ({ headers: async () => ({ Authorization: 'Bearer ${token}' }), ...all() }) })`,
        );
      await publish(1);
      await show(1);
      await shows('a', 'closed [] Log in');
      expect(await page.evaluate('results.a.error.status')).toBe(401);
      await show(2);
      await page.evaluate('results.a.reconnect()');
      await shows('a', 'open [1]');
    });

    it('an error reaches the error boundary with throwOnError, and a component that is mounted again tries again', async () => {
      const show = (token: number) =>
        page.evaluate(
          `show({ name: 'a', url: '/private', options: () => ({ headers: { Authorization: 'Bearer ${token}' }, throwOnError: true, ...all() }) })`,
        );
      await publish(1);
      await show(1);
      await shows('a', 'caught Log in Try again');
      await show(2);
      await page.getByRole('button', { name: 'Try again' }).click();
      await shows('a', 'open [1]');
      expect(problems.splice(0).join()).toContain('401');
    });

    it('what throws in reduce or onItem ends the stream with its error', async () => {
      await publish(1);
      await page.evaluate(
        "show({ name: 'a', url: '/notes', options: () => ({ key: 'a', initial: 0, reduce() { throw new Error('reduced') } }) }, { name: 'b', url: '/notes', options: () => ({ key: 'b', onItem() { throw 'seen' } }) })",
      );
      await shows('a', 'closed 0 reduced');
      await shows('b', 'closed 1 seen');
      await closed.count(2);
    });

    it('after a cut, it resumes without a gap, and renders the state and the reason', async () => {
      await page.evaluate("show({ name: 'a', url: '/notes', options: all })");
      await opened.count(1);
      await publish(1);
      await shows('a', 'open [1]');
      proxy.target = NO_PORT;
      proxy.cut();
      await shows('a', 'waiting [1]');
      expect(await page.evaluate('results.a.failureReason.code')).toBe('network');
      await publish(2);
      proxy.target = app.port;
      await page.evaluate('results.a.reconnect()');
      await shows('a', 'open [1,2]');
      expect(await page.evaluate('String(results.a.failureReason)')).toBe('undefined');
    });

    it('if the server restarts, the value begins again with what the new one has, and onReset is called', async () => {
      await page.evaluate(
        "window.resets = []; show({ name: 'a', url: '/notes', options: () => ({ ...all(), retry: { base: 1 }, onReset: ({ reason }) => resets.push(reason) }) })",
      );
      await opened.count(1);
      await publish(1, 2);
      await shows('a', 'open [1,2]');
      const old = app;
      app = await start();
      await publish(3);
      proxy.target = app.port;
      await old.close();
      await shows('a', 'open [3]');
      expect(await page.evaluate('resets')).toEqual(['epoch']);
    });

    it('with sessionStorage, a page that is reloaded receives what it has missed, and nothing twice', async () => {
      const show = () =>
        page.evaluate("show({ name: 'a', url: '/notes', options: () => ({ ...all(), resume: sessionStorage }) })");
      await publish(1, 2);
      await show();
      await shows('a', 'open [1,2]');
      await page.goto('about:blank');
      await closed.count(1);
      await publish(3);
      await page.goto(`${origin()}/react/${version}`);
      await show();
      await shows('a', 'open [3]');
    });

    it('a store that throws is reported to onWarning, and the stream goes on', async () => {
      await publish(1);
      await page.evaluate(
        "window.warnings = []; show({ name: 'a', url: '/notes', options: () => ({ ...all(), resume: { get: () => null, set() { throw new Error('full') } }, onWarning: ({ message }) => warnings.push(message) }) })",
      );
      await shows('a', 'open [1]');
      await publish(2);
      await shows('a', 'open [1,2]');
      expect(await page.evaluate('warnings')).toContain('full');
    });

    it('with hidden: pause, a hidden page disconnects, and resumes when it is visible', async () => {
      const hide = (hidden: boolean) =>
        page.evaluate(
          `Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true }); document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))`,
        );
      await publish(1);
      await page.evaluate("show({ name: 'a', url: '/notes', options: () => ({ ...all(), hidden: 'pause' }) })");
      await shows('a', 'open [1]');
      await hide(true);
      await shows('a', 'waiting [1]');
      await closed.count(1);
      await publish(2);
      await hide(false);
      await shows('a', 'open [1,2]');
    });

    it('a page that is hidden renders although it has no frames', async () => {
      await page.evaluate(
        "window.requestAnimationFrame = () => 0; Object.defineProperty(document, 'hidden', { value: true })",
      );
      await publish(1);
      await page.evaluate("show({ name: 'a', url: '/notes', options: all })");
      await shows('a', 'open [1]');
    });

    it('a fast stream renders once for each frame at most, calls onItem for each item, and loses none', async () => {
      await page.evaluate(
        "window.seen = 0; window.before = frames; show({ name: 'a', url: '/many', options: () => ({ as: 'ndjson', initial: 0, reduce: (sum, { data }) => sum + data, onItem: () => seen++ }) })",
      );
      await shows('a', 'closed 500500');
      const { seen, commits, frames } = await page.evaluate<{ seen: number; commits: number; frames: number }>(
        '({ seen, commits: commits.a, frames: frames - before })',
      );
      expect(seen).toBe(1_000);
      // The first two are those of StrictMode.
      expect(commits).toBeLessThanOrEqual(frames + 2);
    });

    it('a page that renders slowly slows the server down', async () => {
      // Without the proxy, which reads everything.
      await page.goto(app.url(`/react/${version}`));
      // Frames that the test draws.
      await page.evaluate(
        "window.drawn = []; window.requestAnimationFrame = (draw) => drawn.push(draw); window.setTimeout = () => 0; window.seen = 0; show({ name: 'a', url: '/endless', options: () => ({ as: 'ndjson', onItem: () => seen++ }) })",
      );
      await opened.count(1);
      await untilStable(() => yielded, 500);
      const before = await page.evaluate<number>('seen');
      await page.evaluate('drawn.splice(0).forEach((draw) => draw())');
      await page.waitForFunction(`seen > ${before}`, undefined, { polling: 50 });
    });

    it('send() reaches the server over a WebSocket, and what it answers is rendered', async () => {
      await page.evaluate(
        "show({ name: 'a', url: '/echo', options: () => ({ as: 'ws', initial: [], reduce: (all, { data }) => [...all, data] }) })",
      );
      await shows('a', 'open ["hello"]');
      await page.evaluate("results.a.send('you')");
      await shows('a', 'open ["hello","you"]');
    });

    it('renders on a server without a connection, and continues from its HTML without an error', async () => {
      const views = "{ name: 'a', url: '/notes', options: all }, { name: 'b', url: null }";
      const html = await page.evaluate<string>(`markup(${views})`);
      expect(html).toBe('<output id="a">connecting []</output><output id="b">idle</output>');
      expect(opened.seen).toEqual([]);
      await publish(1);
      await page.evaluate(`document.getElementById('root').innerHTML = markup(${views}); hydrate(${views})`);
      await shows('a', 'open [1]');
    });
  });
});

it('the data of useStream() has the type of its items, or of its value', () => {
  const types = () => {
    const none = useStream<number>('/').data satisfies number | undefined;
    // @ts-expect-error: there may be no item yet
    none satisfies number;
    useStream<number>('/', { initial: 0 }).data satisfies number;
    useStream<number, string>('/', { initial: '', reduce: (text, { data }) => text + data.toFixed() })
      .data satisfies string;
    useStream('/', { initial: 0, reduce: (sum: number, { data }: StreamItem<number>) => sum + data })
      .data satisfies number;
    // @ts-expect-error: a reducer needs its initial value
    useStream<number, string>('/', { reduce: (text, { data }) => text + data.toFixed() });
    // @ts-expect-error: components share the stream, so no one of them can abort it
    useStream('/', { signal: AbortSignal.abort() });
  };
  expect(types).toBeInstanceOf(Function);
});

it('useStream() adds at most 1.6 KB to the client, compressed', async () => {
  const size = async (entry: string) => {
    const { outputFiles } = await build({
      entryPoints: [join(ROOT, 'lib', entry, 'index.ts')],
      bundle: true,
      minify: true,
      write: false,
      format: 'esm',
      target: 'es2022',
      external: ['react'],
    });
    return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length;
  };
  expect((await size('react')) - (await size('client'))).toBeLessThanOrEqual(1_600);
});

it('in Node.js, useStream() renders its first state, and does not connect', () => {
  const View = () => {
    const { state, data } = useStream<number>('/relative', { initial: 0 });
    return createElement('p', null, state, data);
  };
  expect(renderToString(createElement(View))).toBe('<p>connecting<!-- -->0</p>');
});
