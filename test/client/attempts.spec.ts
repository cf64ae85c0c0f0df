import type { ServerResponse } from 'node:http';
import { type ClientStream, type ConnectOptions, connect } from '../../lib/client/index.js';
import { deferred, Recorder } from '../support/events.js';
import { useRawServers } from '../support/raw-server.js';

const SSE = { 'content-type': 'text/event-stream' };
/** Comes back at once. */
const FAST = { retry: { base: 1, max: 1 } };

const respond = (status: number, headers: Record<string, string> = {}, body = '') => {
  return (response: ServerResponse) => response.writeHead(status, headers).end(body);
};
/** Sends events, and keeps the stream open. */
const begin = (text: string) => (response: ServerResponse) => response.writeHead(200, SSE).write(text);
/** Sends events, and cuts the connection in the body. */
const cut = (text: string) => (response: ServerResponse) =>
  response.writeHead(200, SSE).write(text, () => response.destroy());

async function dataOf(stream: ClientStream): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const { data } of stream) {
    items.push(data);
  }
  return items;
}

describe('a client that may try again', () => {
  const serve = useRawServers();

  it.each([408, 425, 429, 500, 502, 503, 504])('does so after %i', async (status) => {
    const { url, requests } = await serve(respond(status), respond(200, SSE, 'data: 1\n\n'));
    expect(await dataOf(connect(url, FAST))).toEqual([1]);
    expect(requests.seen.length).toBe(2);
  });

  it.each([400, 401, 403, 404, 405, 409, 410, 422])('ends after %i, with the body', async (status) => {
    const body = { statusCode: status, message: 'no' };
    const { url, requests } = await serve(respond(status, {}, JSON.stringify(body)));
    await expect(connect(url, FAST).next()).rejects.toMatchObject({ code: 'response', status, body });
    expect(requests.seen.length).toBe(1);
  });

  it('reads each byte when it comes, also those of one character', async () => {
    const bytes = new TextEncoder().encode('\ufeffid: é\r\ndata: "ü€😀"\r\n\r\n');
    const fetch = async () => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          for (const byte of bytes) {
            controller.enqueue(Uint8Array.of(byte));
          }
          controller.close();
        },
      });
      return new Response(body, { headers: SSE });
    };
    const stream = connect('http://localhost/', { fetch });
    expect(await stream.next()).toEqual({ done: false, value: { id: 'é', type: undefined, data: 'ü€😀' } });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('ends after 204', async () => {
    const { url, requests } = await serve(respond(204));
    expect(await dataOf(connect(url, FAST))).toEqual([]);
    expect(requests.seen.length).toBe(1);
  });

  it('ends after a clean end, and comes back after one with retry', async () => {
    const { url, requests } = await serve(
      respond(200, SSE, 'retry: 1\nid: a\ndata: 1\n\n'),
      respond(200, SSE, 'id: b\ndata: 2\n\n'),
    );
    expect(await dataOf(connect(url, FAST))).toEqual([1, 2]);
    expect(requests.seen.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, 'a']);
  });

  it.each([
    ['seconds', () => '3600'],
    ['a date', () => new Date(Date.now() + 3_600_000).toUTCString()],
  ])('waits as long as Retry-After says in %s', async (_, value) => {
    const { url } = await serve(respond(429, { 'retry-after': value() }));
    const stream = connect(url, FAST);
    const error = deferred<unknown>();
    stream.on('state', (state, reason) => state === 'waiting' && error.resolve(reason));
    const next = stream.next();
    const { retryAfter } = (await error.promise) as { retryAfter: number };
    expect(Math.abs(retryAfter - 3_600_000)).toBeLessThan(60_000);
    stream.close();
    expect(await next).toEqual({ done: true, value: undefined });
  });

  it('asks for headers and for the URL anew before each attempt', async () => {
    const { url, requests } = await serve(cut('data: 1\n\n'), respond(503), respond(200, SSE, 'data: 2\n\n'));
    let n = 0;
    const stream = connect(() => `${url}?ticket=${n}`, { ...FAST, headers: async () => ({ authorization: `${++n}` }) });
    expect(await dataOf(stream)).toEqual([1, 2]);
    expect(requests.seen.map((each) => each.headers.authorization)).toEqual(['1', '2', '3']);
    expect(requests.seen.map((each) => each.url)).toEqual(['/stream?ticket=0', '/stream?ticket=1', '/stream?ticket=2']);
  });

  it('ends with the error of headers(), but tries again if they could not be fetched', async () => {
    const { url } = await serve(respond(200, SSE, 'data: 1\n\n'));
    const failing = connect(url, { headers: () => Promise.reject(new Error('logged out')) });
    await expect(failing.next()).rejects.toThrow('logged out');
    let first = true;
    const headers = async () => {
      if (first) {
        first = false;
        await fetch('http://127.0.0.1:1/');
      }
      return {};
    };
    expect(await dataOf(connect(url, { ...FAST, headers }))).toEqual([1]);
  });

  it('keeps the id of a POST for its body: another question does not continue the answer to the first one', async () => {
    const { url, requests } = await serve(cut('id: 1\ndata: 1\n\n'), respond(204), respond(204), respond(204));
    const kept = new Map<string, string>();
    const resume = { get: (key: string) => kept.get(key), set: (key: string, id: string) => void kept.set(key, id) };
    const ask = (q: string) => connect(url, { ...FAST, resume, method: 'POST', body: { q } });
    const first = ask('a');
    await first.next();
    const over = first.next();
    await requests.count(2);
    await over;
    kept.set([...kept.keys()][0] ?? '', '1');
    expect(await dataOf(ask('b'))).toEqual([]);
    expect(await dataOf(ask('a'))).toEqual([]);
    expect(requests.seen.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '1', undefined, '1']);
  });

  it('refuses long polls that send no ids', () => {
    expect(() => connect('http://localhost/', { as: ['sse', 'poll'], resume: false })).toThrow(
      expect.objectContaining({ code: 'invalid-option' }),
    );
  });

  it('never repeats a POST without an id', async () => {
    const { url, requests } = await serve(cut('data: 1\n\n'));
    const stream = connect(url, { ...FAST, method: 'POST', body: { q: 1 } });
    expect(await stream.next()).toMatchObject({ value: { data: 1 } });
    await expect(stream.next()).rejects.toMatchObject({ code: 'network' });
    expect(requests.seen.length).toBe(1);
  });

  it('throws after the items of a POST without an id, if the server shuts down: it may be incomplete', async () => {
    const { url, requests } = await serve(respond(200, SSE, 'data: 1\n\nevent: shutdown\nretry: 1\ndata: {}\n\n'));
    const stream = connect(url, { ...FAST, method: 'POST', body: { q: 1 } });
    expect(await stream.next()).toMatchObject({ value: { data: 1 } });
    await expect(stream.next()).rejects.toMatchObject({ code: 'network' });
    expect(requests.seen.length).toBe(1);
  });

  it.each<[string, string, ConnectOptions]>([
    ['with an id', 'id: 7\ndata: 1\n\n', {}],
    ['with unsafe', 'data: 1\n\n', { retry: { base: 1, max: 1, unsafe: true } }],
  ])('repeats a POST %s, with its body', async (_, text, options) => {
    const { url, requests } = await serve(cut(text), respond(200, SSE, 'data: 2\n\n'));
    expect(await dataOf(connect(url, { ...FAST, ...options, method: 'POST', body: { q: 1 } }))).toEqual([1, 2]);
    expect(requests.seen.map((each) => each.headers['content-type'])).toEqual(['application/json', 'application/json']);
  });

  it('does not with attempts: 0, after the items', async () => {
    const { url, requests } = await serve(cut('id: 1\ndata: 1\n\n'));
    const stream = connect(url, { retry: { base: 1, attempts: 0 } });
    expect(await stream.next()).toMatchObject({ value: { data: 1 } });
    await expect(stream.next()).rejects.toMatchObject({ code: 'network' });
    expect(requests.seen.length).toBe(1);
  });

  it('counts attempts that fail in a row, and begins again after an item', async () => {
    const fail = respond(503);
    const { url, requests } = await serve(fail, fail, cut('id: 1\ndata: 1\n\n'), fail, fail);
    const stream = connect(url, { retry: { base: 1, max: 1, attempts: 2 } });
    expect(await stream.next()).toMatchObject({ value: { data: 1 } });
    await expect(stream.next()).rejects.toMatchObject({ status: 503 });
    expect(requests.seen.length).toBe(5);
  });

  it('takes a body that ends within an event as cut off', async () => {
    const { url, requests } = await serve(respond(200, SSE, 'id: 1\ndata: 1\n\nid: 2\nda'), respond(204));
    expect(await dataOf(connect(url, FAST))).toEqual([1]);
    expect(requests.seen[1]?.headers['last-event-id']).toBe('1');
  });

  it('reports with a reset that a stream without ids begins again', async () => {
    const { url } = await serve(cut('data: 1\n\n'), respond(200, SSE, 'data: 1\n\n'));
    const seen: unknown[] = [];
    const stream = connect(url, FAST);
    stream.on('reset', ({ reason }) => seen.push(reason));
    for await (const { data } of stream) {
      seen.push(data);
    }
    expect(seen).toEqual([1, 'no-id', 1]);
  });

  it('connects again if nothing comes for the time of idle', async () => {
    const { url, requests, closed } = await serve(begin('id: 1\ndata: 1\n\n'), respond(200, SSE, 'data: 2\n\n'));
    const stream = connect(url, { ...FAST, idle: 1_000 });
    const errors: unknown[] = [];
    stream.on('state', (state, error) => state === 'waiting' && errors.push(error));
    expect(await dataOf(stream)).toEqual([1, 2]);
    expect(errors).toMatchObject([{ code: 'idle' }]);
    expect(requests.seen[1]?.headers['last-event-id']).toBe('1');
    await closed.count(2);
  });

  it('uses the next transport of a list if nothing comes through', async () => {
    const { url, requests } = await serve(cut(''), respond(200, { 'content-type': 'application/x-ndjson' }, '1\n'));
    expect(await dataOf(connect(url, { ...FAST, as: ['sse', 'ndjson'] }))).toEqual([1]);
    expect(requests.seen.map(({ headers }) => headers.accept)).toEqual(['text/event-stream', 'application/ndjson']);
  });

  it('waits as Retry-After asks, before the next transport of a list too', async () => {
    const { url, requests } = await serve(respond(429, { 'retry-after': '3600' }), respond(204));
    const states = new Recorder<string>();
    const stream = connect(url, { ...FAST, as: ['sse', 'ndjson'] });
    stream.on('state', states.add);
    const reading = dataOf(stream);
    expect(await states.count(2)).toEqual(['connecting', 'waiting']);
    stream.close();
    await reading;
    expect(requests.seen.length).toBe(1);
  });

  it('sends the next long poll at once after one that had waited without an item', async () => {
    const poll = (status: number, body?: string) => respond(status, { ...SSE, 'last-event-id': 'a' }, body);
    const { url } = await serve(
      (response) => setTimeout(() => poll(204)(response), 1_000),
      poll(200, 'data: 1\n\n'),
      respond(204),
    );
    const slow = { base: 3_600_000, max: 3_600_000, attempts: 0 };
    expect(await dataOf(connect(url, { as: 'poll', retry: slow }))).toEqual([1]);
  });

  it.each([undefined, null, 0, ''])('ends if headers() rejects with %p', async (reason) => {
    const stream = connect('http://localhost/', { ...FAST, headers: () => Promise.reject(reason) });
    await expect(stream.next()).rejects.toBe(reason);
  });

  it('sends an id as UTF-8, as an EventSource does', async () => {
    const { url, requests } = await serve(cut('id: ü€\ndata: 1\n\n'), respond(204));
    await dataOf(connect(url, FAST));
    expect(Buffer.from(requests.seen[1]?.headers['last-event-id'] as string, 'latin1').toString()).toBe('ü€');
  });
});

describe('a client that is closed', () => {
  const serve = useRawServers();

  it.each<[string, (wait: Promise<never>) => ConnectOptions]>([
    ['the store', (wait) => ({ resume: { get: () => wait, set: () => undefined } })],
    ['the headers', (wait) => ({ headers: () => wait })],
    ['fetch()', (wait) => ({ fetch: () => wait })],
  ])('while it waits for %s ends at once', async (_, options) => {
    const { url } = await serve(respond(204));
    const stream = connect(url, options(new Promise<never>(() => undefined)));
    const next = stream.next();
    stream.close();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(stream.state).toBe('closed');
  });

  it('while it processes an item closes its connection at once', async () => {
    const { url, closed } = await serve(begin('data: 1\n\ndata: 2\n\n'));
    const stream = connect(url);
    await stream.next();
    stream.close();
    await closed.count(1);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('before it is read never connects', async () => {
    const { url, requests } = await serve(respond(204));
    const stream = connect(url);
    await stream.return?.();
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    const aborted = connect(url, { signal: AbortSignal.abort(new Error('enough')) });
    await expect(aborted.next()).rejects.toThrow('enough');
    expect(requests.seen).toEqual([]);
  });

  it.each([undefined, null, 0, 'text'])('by a signal with the reason %p throws it', async (reason) => {
    const { url } = await serve(begin('data: 1\n\n'));
    const controller = new AbortController();
    const stream = connect(url, { signal: controller.signal });
    await stream.next();
    const next = stream.next().catch((error) => ({ thrown: error }));
    controller.abort(reason);
    expect(await next).toEqual({ thrown: controller.signal.reason });
  });

  it('answers all calls of next() that wait', async () => {
    const { url } = await serve(begin('data: 1\n\n'));
    const stream = connect(url);
    const calls = [stream.next(), stream.next(), stream.next()];
    await calls[0];
    stream.close();
    expect(await Promise.all(calls)).toMatchObject([{ value: { data: 1 } }, { done: true }, { done: true }]);
  });

  it.each(['connecting', 'open', 'closed'] as const)(
    'by a listener that throws in the state %s throws its error',
    async (state) => {
      const { url, closed } = await serve(respond(200, SSE, 'data: 1\n\n'));
      const stream = connect(url);
      stream.on('state', (each) => {
        if (each === state) {
          throw new Error('listener');
        }
      });
      await expect(dataOf(stream)).rejects.toThrow('listener');
      expect(stream.state).toBe('closed');
      await closed.count(state === 'connecting' ? 0 : 1);
    },
  );
});

describe('a listener that replaces itself', () => {
  const serve = useRawServers();

  it('is called once for each change', async () => {
    const { url } = await serve(respond(204));
    const states: string[] = [];
    const stream = connect(url);
    const listen = (): void => {
      const remove = stream.on('state', (state) => {
        states.push(state);
        remove();
        if (states.length < 10) {
          listen();
        }
      });
    };
    listen();
    await dataOf(stream);
    expect(states).toEqual(['connecting', 'open', 'closed']);
  });
});

describe('a client that stores its id', () => {
  const serve = useRawServers();
  const EVENTS = 'id: a\ndata: 1\n\nid: b\ndata: 2\n\n';

  it('stores it after its item was processed, and clears it at the end of the stream', async () => {
    const { url } = await serve(respond(200, SSE, EVENTS));
    const stored = new Map<string, string>();
    const resume = {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, id: string) => stored.set(key, id),
    };
    const key = `GET ${url}`;
    const stream = connect(url, { resume });
    await stream.next();
    expect(stored.get(key)).toBeUndefined();
    await stream.next();
    expect(stored.get(key)).toBe('a');
    await stream.next();
    expect(stored.get(key)).toBe('');
  });

  it('does not store the id of an item that came with the last one before close()', async () => {
    const { url } = await serve(respond(200, SSE, 'data: 1\n\nid: b\ndata: 2\n\n'));
    const stored: string[] = [];
    const stream = connect(url, { resume: { get: () => '', set: (_, id) => stored.push(id) } });
    for await (const { data } of stream) {
      expect(data).toBe(1);
      stream.close();
    }
    expect(stored).toEqual([]);
  });

  it('sends the id of the store, which may be asynchronous', async () => {
    const { url, requests } = await serve(respond(204));
    await dataOf(connect(url, { resume: { get: async () => 'x', set: () => undefined } }));
    await dataOf(connect(url, { resume: false }));
    expect(requests.seen.map(({ headers }) => headers['last-event-id'])).toEqual(['x', undefined]);
  });

  it('warns if the store throws, and goes on', async () => {
    const { url } = await serve(respond(200, SSE, EVENTS));
    const fail = (): never => {
      throw new Error('full');
    };
    const warnings = new Recorder<unknown>();
    const stream = connect(url, { resume: { get: fail, set: fail } });
    stream.on('warning', warnings.add);
    expect(await dataOf(stream)).toEqual([1, 2]);
    expect(warnings.seen.length).toBe(4);
  });

  it('stores the id of a long poll', async () => {
    const poll = (id: string, status: number, body = '') =>
      respond(status, { ...SSE, 'preference-applied': 'wait=20', ...(id && { 'last-event-id': id }) }, body);
    const { url, requests } = await serve(poll('a', 200, 'data: 1\n\n'), poll('b', 204), poll('', 204));
    const stored: string[] = [];
    const resume = { get: () => stored.at(-1), set: (_: string, id: string) => stored.push(id) };
    expect(await dataOf(connect(url, { ...FAST, as: 'poll', resume }))).toEqual([1]);
    expect(stored).toEqual(['a', 'b', '']);
    expect(requests.seen.map(({ headers }) => [headers.prefer, headers['last-event-id']])).toEqual([
      ['wait=20', undefined],
      ['wait=20', 'a'],
      ['wait=20', 'b'],
    ]);
  });
});

describe('the records of the server', () => {
  const serve = useRawServers();

  it('say which topics a reset concerns', async () => {
    const { url } = await serve(
      respond(200, SSE, 'event: reset\ndata: {"reason":"evicted","oldest":"h.e.1","topics":["red"]}\n\ndata: 1\n\n'),
    );
    const stream = connect(url);
    let concerned: readonly string[] | undefined;
    stream.on('reset', ({ topics }) => {
      concerned = topics;
    });
    await stream.next();
    expect(concerned).toEqual(['red']);
    stream.close();
  });

  it('are not passed to the option parse', async () => {
    const { url } = await serve(
      respond(
        200,
        SSE,
        'event: reset\ndata: {"reason":"epoch","oldest":null}\n\ndata: 1\n\nevent: error\ndata: {"statusCode":409}\n\n',
      ),
    );
    const resets: unknown[] = [];
    const stream = connect(url, { parse: (text) => Number(text) + 1 });
    stream.on('reset', (reset) => resets.push(reset));
    expect(await stream.next()).toMatchObject({ value: { data: 2 } });
    expect(resets).toEqual([{ reason: 'epoch', oldest: null }]);
    await expect(stream.next()).rejects.toMatchObject({ code: 'failed', status: 409 });
  });
});
