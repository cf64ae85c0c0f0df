import { connect } from '../../lib/client/index.js';
import { deferred } from '../support/events.js';
import { useRawServers } from '../support/raw-server.js';

const SSE = { 'content-type': 'text/event-stream' };
const FAST = { retry: { base: 1, max: 1 } };

/** A page, as far as the client knows it: its document, and its events. */
class Page extends EventTarget {
  readonly document = { hidden: false };

  show(isVisible: boolean): void {
    this.document.hidden = !isVisible;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}

describe('a client in a page', () => {
  const serve = useRawServers();
  let page: Page;

  beforeEach(() => {
    page = new Page();
    Object.assign(globalThis, { document: page.document, addEventListener: page.addEventListener.bind(page) });
  });

  afterEach(() => {
    Reflect.deleteProperty(globalThis, 'document');
    Reflect.deleteProperty(globalThis, 'addEventListener');
  });

  it('with hidden: pause disconnects while the page is hidden, and resumes when it is visible', async () => {
    const { url, requests, closed } = await serve(
      (response) => response.writeHead(200, SSE).write('id: 1\ndata: 1\n\n'),
      (response) => response.writeHead(200, SSE).end('id: 2\ndata: 2\n\n'),
    );
    const stream = connect(url, { ...FAST, hidden: 'pause' });
    await stream.next();
    const next = stream.next();
    page.show(false);
    await closed.count(1);
    expect(stream.state).toBe('waiting');
    expect(requests.seen.length).toBe(1);
    page.show(true);
    expect(await next).toMatchObject({ value: { data: 2 } });
    expect(requests.seen[1]?.headers['last-event-id']).toBe('1');
    stream.close();
  });

  it('with hidden: pause connects only when the page is visible', async () => {
    const { url, requests } = await serve((response) => response.writeHead(200, SSE).end('data: 1\n\n'));
    page.show(false);
    const waiting = deferred();
    const stream = connect(url, { hidden: 'pause' });
    stream.on('state', (state) => state === 'waiting' && waiting.resolve());
    const next = stream.next();
    await waiting.promise;
    expect(requests.seen).toEqual([]);
    page.show(true);
    expect(await next).toMatchObject({ value: { data: 1 } });
    stream.close();
  });

  it.each<[string, object]>([
    ['a POST without ids', { hidden: 'pause', method: 'POST' }],
    ['a stream without hidden: pause', {}],
  ])('does not leave %s while the page is hidden', async (_, options) => {
    const go = deferred();
    const { url, requests } = await serve((response) => {
      response.writeHead(200, SSE).write('data: 1\n\n');
      void go.promise.then(() => response.end('data: 2\n\n'));
    });
    const stream = connect(url, { ...FAST, ...options });
    await stream.next();
    page.show(false);
    go.resolve();
    expect(await stream.next()).toMatchObject({ value: { data: 2 } });
    expect(requests.seen.length).toBe(1);
    stream.close();
  });

  it('ends its wait when the device is online', async () => {
    const { url } = await serve(
      (response) => response.writeHead(200, SSE).write('id: 1\ndata: 1\n\n', () => response.destroy()),
      (response) => response.writeHead(200, SSE).end('data: 2\n\n'),
    );
    // No random number makes it come back within the time of a test.
    const stream = connect(url, { retry: { base: 1e12, max: 1e12 } });
    await stream.next();
    stream.on('state', (state) => state === 'waiting' && setImmediate(() => page.dispatchEvent(new Event('online'))));
    expect(await stream.next()).toMatchObject({ value: { data: 2 } });
    stream.close();
  });

  it('does not end its wait before the time of Retry-After', async () => {
    const { url, requests } = await serve(
      (response) => response.writeHead(503, { 'retry-after': '3600' }).end(),
      (response) => response.writeHead(200, SSE).end('data: 2\n\n'),
    );
    const stream = connect(url, FAST);
    let waits = 0;
    const waited = deferred();
    stream.on('state', (state) => {
      if (state !== 'waiting') return;
      waits++;
      if (waits === 5) waited.resolve();
      else setImmediate(() => page.dispatchEvent(new Event('online')));
    });
    const next = stream.next();
    // The event has ended its wait four times, and it waits again each time.
    await waited.promise;
    expect(requests.seen.length).toBe(1);
    stream.close();
    expect(await next).toEqual({ done: true, value: undefined });
  });
});

describe('a client of another origin', () => {
  it('ends a long poll with an error that names the headers, if CORS does not expose them', async () => {
    const fetch = async () =>
      Object.defineProperty(new Response('data: 1\n\n', { headers: SSE }), 'type', { value: 'cors' });
    await expect(connect('http://other.test/', { as: 'poll', fetch }).next()).rejects.toMatchObject({
      code: 'response',
      message: expect.stringMatching(/preference-applied.*last-event-id/),
    });
  });
});

describe('the option parse', () => {
  const serve = useRawServers();

  it('leaves out events for which it returns undefined, and continues after their ids', async () => {
    const { url, requests } = await serve(
      (response) =>
        response.writeHead(200, SSE).write('id: 1\ndata: a\n\nid: 2\ndata: skip\n\n', () => response.destroy()),
      (response) => response.writeHead(200, SSE).end('id: 3\ndata: b\n\n'),
    );
    const items: unknown[] = [];
    const parse = (text: string) => (text === 'skip' ? undefined : text);
    for await (const { data } of connect(url, { ...FAST, parse })) items.push(data);
    expect(items).toEqual(['a', 'b']);
    expect(requests.seen[1]?.headers['last-event-id']).toBe('2');
  });
});
