import { Readable } from 'node:stream';
import {
  type ArgumentsHost,
  Catch,
  Controller,
  type ExceptionFilter,
  HttpException,
  type INestApplication,
  Param,
  ParseIntPipe,
} from '@nestjs/common';
import { concat, Observable, of, throwError } from 'rxjs';
import {
  abortable,
  ConnectedStream,
  defineFormat,
  event,
  flush,
  formatSse,
  getHubToken,
  type Hub,
  InjectHub,
  Sse,
  Stream,
  type StreamConnection,
  StreamError,
  type StreamHooks,
  StreamingModule,
} from '../../lib/index.js';
import { textOf } from '../../lib/util/error-text.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { Recorder } from '../support/events.js';
import { realProcess } from '../support/real-process.js';
import { turns, useApps } from '../support/running.js';

const start = useApps();
const FOREVER = new Promise<never>(() => undefined);

const broken = (): never => {
  throw new Error('broken');
};

/** The errors that would have ended the process. */
const escaped: unknown[] = [];
const note = (error: unknown): void => void escaped.push(error);

beforeAll(() => {
  realProcess.on('unhandledRejection', note);
  realProcess.on('uncaughtExceptionMonitor', note);
});

afterAll(() => {
  realProcess.off('unhandledRejection', note);
  realProcess.off('uncaughtExceptionMonitor', note);
});

afterEach(async () => {
  await turns();
  expect(escaped.splice(0)).toEqual([]);
});

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

const trapped = (): object =>
  new Proxy(
    {},
    { get: broken, has: broken, ownKeys: broken, getPrototypeOf: broken, getOwnPropertyDescriptor: broken },
  );

function thenable(then: (yes: (value: unknown) => void, no: (error: unknown) => void) => void): object {
  return { then };
}

function cycle(): object {
  const value: { a: number; self?: unknown } = { a: 1 };
  value.self = value;
  return value;
}

/** Chunks that cannot be sent, and the message of the error. */
const CHUNKS: readonly (readonly [what: string, make: () => unknown, message: RegExp])[] = [
  ['a promise that rejects', () => Promise.reject(new Error('broken')), /broken/],
  ['a promise of a promise that rejects', async () => Promise.reject(new Error('broken')), /broken/],
  ['a thenable that rejects', () => thenable((_, no) => no(new Error('broken'))), /broken/],
  ['a thenable whose then() throws', () => thenable(broken), /broken/],
  ['an object whose then throws when it is read', () => Object.defineProperty({}, 'then', { get: broken }), /broken/],
  ['a promise in an object', () => ({ a: [{ b: Promise.resolve(1) }] }), /\$\.a\[0\]\.b is a promise/],
  ['a promise that rejects in an object', () => ({ a: Promise.reject(new Error('never seen')) }), /\$\.a is a promise/],
  [
    'an object that throws when it is read',
    () => ({
      get a() {
        return broken();
      },
    }),
    /broken/,
  ],
  ['a revoked Proxy', revoked, /revoked/],
  ['a Proxy whose traps throw', trapped, /broken/],
  ['a toJSON() that throws', () => ({ toJSON: broken }), /broken/],
  [
    'a toJSON() that throws what cannot be described',
    () => ({
      toJSON: () => {
        throw revoked();
      },
    }),
    /revoked|cannot be sent/i,
  ],
  ['a toJSON() that returns undefined', () => ({ toJSON: () => undefined }), /has no JSON form/],
  ['a toJSON() that returns a promise', () => ({ toJSON: async () => 1 }), /\$ is a promise/],
  ['a BigInt', () => ({ a: 1n }), /BigInt/],
  ['a cycle', cycle, /circular/],
  ['a function', () => broken, /has no JSON form/],
  ['a symbol', () => Symbol('s'), /has no JSON form/],
];

/** Sources of a chunk that follows a valid chunk. */
const ORIGINS: Readonly<Record<string, (make: () => unknown, stream: StreamConnection) => unknown>> = {
  async 'an async generator'(make) {
    return later(make);
  },
  *'a sync generator'(make) {
    yield 'ok';
    yield make();
  },
  'an array': (make) => ['ok', make()],
  'an async iterable that awaits nothing'(make) {
    let count = 0;
    const next = async () => ({ done: false, value: ++count === 1 ? 'ok' : make() });
    return { [Symbol.asyncIterator]: () => ({ next }) };
  },
  'an Observable': (make) =>
    new Observable((subscriber) => {
      subscriber.next('ok');
      subscriber.next(make());
    }),
  'a web stream': (make) =>
    new ReadableStream({
      start(controller) {
        controller.enqueue('ok');
        controller.enqueue(make());
      },
    }),
  'a Readable'(make) {
    const readable = new Readable({ objectMode: true, read: () => undefined });
    readable.push('ok');
    setImmediate(() => readable.push(make()));
    return readable;
  },
  async 'send()'(make, stream) {
    await stream.send('ok');
    void stream.send(make());
  },
  async 'send(), behind a promise that takes its time'(make, stream) {
    await stream.send('ok');
    void stream.send(turns(2).then(() => 'late'));
    void stream.send(make());
  },
  beforeChunk(make, stream) {
    stream.hooks({ beforeChunk: (chunk) => (chunk === 'hostile' ? make() : chunk) });
    return ['ok', 'hostile'];
  },
  'an array of beforeChunk'(make, stream) {
    stream.hooks({ beforeChunk: (chunk) => (chunk === 'hostile' ? [turns(1).then(() => 'late'), make()] : chunk) });
    return ['ok', 'hostile'];
  },
};

async function* later(make: () => unknown) {
  yield 'ok';
  await turns(1);
  yield make();
}

/** Failures are noted, so that a test can wait for them. */
function failing(): { readonly errors: Recorder<unknown>; readonly hooks: StreamHooks } {
  const errors = new Recorder<unknown>();
  return { errors, hooks: { onClose: (_, { error }) => errors.add(error) } };
}

@Controller()
class Neighbour {
  @Stream('neighbour', { format: 'text' })
  async *neighbour() {
    for (let i = 0; ; i++) {
      yield `${i};`;
      await turns(3);
    }
  }
}

describe.each(PLATFORMS)('%s: a chunk that cannot be sent makes only its stream fail', (platform) => {
  it.each(Object.entries(ORIGINS))('from %s', async (_where, origin) => {
    const failures = CHUNKS.map(failing);
    @Controller()
    class Feed {
      @Stream('feed/:at', { format: 'ndjson' })
      feed(@ConnectedStream() stream: StreamConnection, @Param('at', ParseIntPipe) at: number) {
        stream.hooks(failures[at]?.hooks ?? {});
        return origin(CHUNKS[at]?.[1] ?? broken, stream);
      }
    }
    const { get, registry } = await start(platform, { controllers: [Feed, Neighbour] });
    const neighbour = await get('/neighbour');
    await neighbour.until('1;');

    // All at once, because a connection that is cut off stays open for a moment.
    const clients = await Promise.all(CHUNKS.map((_, at) => get(`/feed/${at}`, { connection: 'close' })));
    for (const [at, [what, , message]] of CHUNKS.entries()) {
      await clients[at]?.closed();
      const error = (await failures[at]?.errors.count(1))?.[0];

      expect([what, clients[at]?.complete]).toEqual([what, false]);
      expect([what, textOf(error)]).toEqual([what, expect.stringMatching(message)]);
    }

    const seen = neighbour.body.split(';').length;
    await neighbour.until(`${seen + 10};`);
    expect(registry.size).toBe(1);
  });
});

describe.each(PLATFORMS)('%s: a promise of a chunk', (platform) => {
  const slow = async <T>(value: T): Promise<T> => {
    await turns(3);
    return value;
  };
  const promises = () => [
    slow('a'),
    Promise.resolve('b'),
    'c',
    slow({ d: 1 }),
    thenable((yes) => yes('e')),
    flush(),
    'f',
  ];

  it.each<[string, (stream: StreamConnection) => unknown]>([
    ['an array', promises],
    ['a Set', () => new Set(promises())],
    [
      'a sync generator',
      function* () {
        yield* promises();
      },
    ],
    ['an Observable', () => of(...promises())],
    ['a Readable', () => readableOf(promises())],
    ['a web stream', () => webStreamOf(promises())],
    ['send()', (stream) => pushed(stream, promises())],
    ['beforeChunk', (stream) => hooked(stream, (chunk) => slow(chunk))],
    ['an array of beforeChunk', (stream) => hooked(stream, (chunk) => [slow(chunk)])],
  ])('is awaited, in order, in %s', async (_where, produce) => {
    @Controller()
    class Feed {
      @Stream('feed', { format: 'ndjson' })
      feed(@ConnectedStream() stream: StreamConnection) {
        return produce(stream);
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('"a"\n"b"\n"c"\n{"d":1}\n"e"\n"f"\n');
  });

  function hooked(stream: StreamConnection, beforeChunk: (chunk: unknown) => unknown): unknown {
    stream.hooks({ beforeChunk });
    return promises();
  }

  it.each<[string, (events: readonly unknown[], stream: StreamConnection) => unknown]>([
    ['an array', (events) => events],
    ['an Observable', (events) => of(...events)],
    ['send()', (events, stream) => pushed(stream, events)],
    [
      'beforeChunk',
      (events, stream) => {
        stream.hooks({ beforeChunk: () => [...events] });
        return ['x'];
      },
    ],
  ])('as the data of an event is awaited, in order, in %s', async (_where, produce) => {
    const { errors, hooks } = failing();
    @Controller()
    class Feed {
      @Sse('feed')
      feed(@ConnectedStream() stream: StreamConnection) {
        return produce([event({ id: '1', data: slow('a') }), { data: Promise.resolve({ b: 1 }) }], stream);
      }

      @Stream('rows', { format: 'ndjson' })
      rows(@ConnectedStream() stream: StreamConnection) {
        return produce([event({ id: '1', data: slow('a') }), event({ data: Promise.resolve({ b: 1 }) })], stream);
      }

      @Sse('failing')
      failing(@ConnectedStream() stream: StreamConnection) {
        return produce([{ data: slow('a') }, { data: Promise.reject(new Error('too early')) }], stream);
      }
    }
    const { text, get } = await start(platform, { controllers: [Feed], options: { hooks } });

    expect(await text('/feed')).toBe('id: 1\ndata: a\n\ndata: {"b":1}\n\n');
    expect(await text('/rows')).toBe('"a"\n{"b":1}\n');
    const client = await get('/failing');
    await client.closed();
    expect(client.body).toMatch(/^data: a\n\nevent: error\n/);
    expect(client.complete).toBe(false);
    expect(textOf((await errors.count(3))[2])).toContain('too early');
  });

  it('that rejects before it is its turn is not an unhandled rejection', async () => {
    const { errors, hooks } = failing();
    const list = () => [slow('a'), Promise.reject(new Error('too early')), Promise.reject(new Error('too'))];
    const { text } = await start(platform, {
      controllers: [controllerOf(list, { format: 'ndjson' })],
      options: { hooks },
    });

    await expect(text('/source')).rejects.toThrow();
    expect(textOf((await errors.count(1))[0])).toContain('too early');
  });

  const nested = (): object => ({ items: [{ late: Promise.reject(new Error('nested')) }] });

  it.each<[string, (stream: StreamConnection) => unknown]>([
    ['a list behind another that fails', () => [nested(), nested()]],
    ['a Set', () => new Set([slow('a'), nested(), nested()])],
    ['an Observable that continues after one that fails', () => of(nested(), nested())],
    ['an Observable behind a promise', () => of(slow('a'), nested())],
    ['a chunk behind a slow hook', (stream) => hookedBy(stream, { beforeChunk: (chunk) => slow(chunk) }, [nested()])],
    ['a chunk behind a slow onOpen', (stream) => hookedBy(stream, { onOpen: () => slow('a') }, [nested()])],
    [
      'a chunk of a hook, behind a slow hook',
      (stream) => {
        stream.hooks({ beforeChunk: nested });
        return hookedBy(stream, { beforeChunk: (chunk) => slow(chunk) }, ['x']);
      },
    ],
    ['an array of a hook', (stream) => hookedBy(stream, { beforeChunk: () => [slow('a'), nested()] }, ['x'])],
    ['send() behind a promise', (stream) => pushed(stream, [slow('a'), nested()])],
    ['send() after a chunk that fails', (stream) => pushed(stream, [nested(), nested()])],
    ['the data of an event', () => [slow('a'), event({ data: nested() })]],
    ['an event of a wrong type', () => [event({ type: 'a\nb', data: nested() })]],
    ['a chunk with a BigInt before it', () => [{ big: 1n, ...nested() }]],
    [
      'a chunk with a getter that throws before it',
      () => [Object.defineProperty(nested(), 'a', { get: broken, enumerable: true })],
    ],
    ['a chunk whose toJSON() throws', () => [{ ...nested(), toJSON: broken }]],
    ['what is no stream', nested],
  ])(
    'that rejects in an object that waits or is not read is not an unhandled rejection: %s',
    async (_where, produce) => {
      const { errors, hooks } = failing();
      @Controller()
      class Feed {
        @Stream('feed', { format: 'sse', events: 'explicit' })
        feed(@ConnectedStream() stream: StreamConnection) {
          return produce(stream);
        }
      }
      const { get } = await start(platform, { controllers: [Feed], options: { hooks } });

      const client = await get('/feed', { connection: 'close' });
      await client.closed();
      await errors.count(1);
    },
  );

  function hookedBy(stream: StreamConnection, hooks: StreamHooks, chunks: unknown[]): unknown[] {
    stream.hooks(hooks);
    return chunks;
  }

  it('that rejects and is not sent, because its stream is over or its queue is full, is not an unhandled rejection', async () => {
    const seen = new Recorder<StreamConnection>();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'ndjson', queue: { items: 1 }, overflow: 'drop-newest' })
      feed(@ConnectedStream() stream: StreamConnection) {
        seen.add(stream);
        return concat(of('a', FOREVER, Promise.reject(new Error('left out'))), FOREVER);
      }
    }
    const { errors, hooks } = failing();
    const { get, logs } = await start(platform, { controllers: [Feed], options: { hooks } });
    const client = await get('/feed');
    await client.closed();

    expect(textOf((await errors.count(1))[0])).toContain('left out');
    const [stream] = await seen.count(1);
    await expect(stream?.send(Promise.reject(new Error('too late')))).rejects.toThrow(StreamError);
    await turns();
    expect(logs.of('error').join('\n')).toContain('too late');
  });
});

function readableOf(chunks: readonly unknown[]): Readable {
  const readable = new Readable({ objectMode: true, read: () => undefined });
  for (const chunk of [...chunks, null]) {
    readable.push(chunk);
  }
  return readable;
}

function webStreamOf(chunks: readonly unknown[]): ReadableStream<unknown> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) {
        controller.enqueue(chunk);
      }
      controller.close();
    },
  });
}

function pushed(stream: StreamConnection, chunks: readonly unknown[]): void {
  for (const chunk of chunks) {
    void stream.send(chunk);
  }
  void stream.close();
}

/** A step of an iterator that throws when it is read. */
const step = (name: string): object => Object.defineProperty({ done: false, value: 'x' }, name, { get: broken });

const iterable = (next: () => unknown): object => ({ [Symbol.iterator]: () => ({ next }) });
const iterableLater = (next: () => unknown): object => ({ [Symbol.asyncIterator]: () => ({ next }) });
/** The second of its steps. */
const second = (make: () => unknown): (() => unknown) => {
  let count = 0;
  return () => (++count === 1 ? { done: false, value: 'ok' } : make());
};

const RESULTS: readonly (readonly [what: string, make: () => unknown])[] = [
  ['a revoked Proxy', revoked],
  ['a Proxy whose traps throw', trapped],
  ['a promise of a revoked Proxy', async () => [revoked()]],
  ['a thenable whose then() throws', () => thenable(broken)],
  [
    'an object that throws when its iterator is read',
    () => Object.defineProperty({}, Symbol.iterator, { get: broken }),
  ],
  ['what has a constructor that throws', () => Object.defineProperty({}, 'constructor', { get: broken })],
  ['an iterator that is no object', () => ({ [Symbol.asyncIterator]: () => 7 })],
  ['an iterator without next()', () => ({ [Symbol.iterator]: () => ({}) })],
  ['an iterator whose next() returns no object', () => iterable(() => 7)],
  ['an async iterator whose next() returns undefined', () => iterableLater(() => undefined)],
  ['an object that looks like an Observable', () => ({ '@@observable': () => 7 })],
  ['an Observable that throws', () => new Observable(broken)],
  ['an object that looks like a Readable', () => ({ pipe: broken, read: broken, on: broken })],
  ['an object that looks like a web stream', () => ({ getReader: broken })],
  ['an object that looks like a Response', () => ({ [Symbol.toStringTag]: 'Response' })],
  ['an object that looks like a file', () => ({ getStream: broken, getHeaders: broken })],
  ...['done', 'value', 'then'].flatMap((name): [string, () => unknown][] => [
    [`an iterator whose steps throw at ${name}`, () => iterable(() => step(name))],
    [`an iterator whose second step throws at ${name}`, () => iterable(second(() => step(name)))],
    [`an async iterator whose steps throw at ${name}`, () => iterableLater(() => step(name))],
    [`an async iterator whose second step throws at ${name}`, () => iterableLater(second(() => step(name)))],
    [
      `an async iterator of promises of steps that throw at ${name}`,
      () => iterableLater(second(async () => step(name))),
    ],
  ]),
  ['an async iterator whose second step is a revoked Proxy', () => iterableLater(second(revoked))],
  ['an async iterator whose second step settles twice', () => iterableLater(second(() => thenable(twice)))],
];

function twice(yes: (value: unknown) => void, no: (error: unknown) => void): void {
  yes({ done: false, value: 'x' });
  yes({ done: true });
  no(new Error('broken'));
  broken();
}

describe.each(PLATFORMS)('%s: a result that cannot be read makes only its stream fail', (platform) => {
  // A thenable that settles twice counts as one step, and then continues forever.
  it.each(RESULTS.filter(([what]) => !what.endsWith('twice')))('%s', async (_what, make) => {
    const { errors, hooks } = failing();
    const { get, registry } = await start(platform, {
      controllers: [controllerOf(make, { format: 'ndjson' }), Neighbour],
      options: { hooks },
    });
    const neighbour = await get('/neighbour');
    await neighbour.until('1;');

    const client = await get('/source');
    const [error] = await errors.count(1);

    expect(error).toBeInstanceOf(Error);
    await client.until(/^HTTP\/1\.1 (500|200)/);
    await neighbour.until('9;');
    expect(registry.size).toBe(1);
  });
});

class Indescribable extends HttpException {
  override getStatus = broken;
  override getResponse = broken;
}

const undescribable = (): Error =>
  Object.defineProperties(new Error(), {
    message: { get: broken },
    stack: { get: broken },
    name: { get: broken },
    constructor: { get: broken },
    toString: { value: broken },
  });

const ERRORS: readonly (readonly [what: string, make: () => unknown])[] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['a number', () => 7],
  ['a symbol', () => Symbol('s')],
  ['an object without a prototype', () => Object.create(null)],
  ['a revoked Proxy', revoked],
  ['a Proxy whose traps throw', trapped],
  ['an error whose properties throw', undescribable],
  ['an HttpException whose methods throw', () => new Indescribable('x', 400)],
  ['an HttpException without a status', () => new HttpException('x', undefined as never)],
  ['an HttpException with a cycle', () => new HttpException(cycle(), 400)],
  ['an HttpException with a promise', () => new HttpException({ a: Promise.resolve(1) }, 400)],
];

/** An application's own filter for all errors. */
@Catch()
class Filter implements ExceptionFilter {
  catch(_error: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse();
    const raw = 'raw' in response ? response.raw : response;
    raw.statusCode = 500;
    raw.end('filtered');
  }
}

const THROWING: Readonly<Record<string, (thrown: unknown, stream: StreamConnection) => unknown>> = {
  async *'an async generator, after a chunk'(thrown) {
    yield 'ok';
    await turns(1);
    throw thrown;
  },
  *'a sync generator, after a chunk'(thrown) {
    yield 'ok';
    throw thrown;
  },
  'an Observable, after a chunk': (thrown) =>
    concat(
      of('ok'),
      throwError(() => thrown),
    ),
  onOpen(thrown, stream) {
    stream.hooks({
      onOpen: () => {
        throw thrown;
      },
    });
    return ['ok'];
  },
  'onClose and finally, when it is over'(thrown, stream) {
    stream.hooks({ onClose: () => Promise.reject(thrown) });
    return (function* () {
      try {
        yield 'ok';
        void stream.close();
        yield 'ok';
      } finally {
        // biome-ignore lint/correctness/noUnsafeFinally: that is what is tested
        throw thrown;
      }
    })();
  },
  onError(thrown, stream) {
    stream.hooks({
      onError: () => {
        throw thrown;
      },
    });
    return later(broken);
  },
};

describe.each(PLATFORMS)('%s: an error that cannot be described', (platform) => {
  it.each(Object.entries(THROWING))('from %s ends only its stream', async (_where, produce) => {
    const closed = new Recorder();
    @Controller()
    class Feed {
      @Sse('feed/:at')
      feed(@ConnectedStream() stream: StreamConnection, @Param('at', ParseIntPipe) at: number) {
        return produce(ERRORS[at]?.[1](), stream);
      }
    }
    const { get, registry } = await start(platform, {
      controllers: [Feed, Neighbour],
      options: { hooks: { onClose: (_, { code }) => closed.add(code) } },
      configure: (app: INestApplication) => void app.useGlobalFilters(new Filter()),
    });
    const neighbour = await get('/neighbour');
    await neighbour.until('1;');

    // All at once, because a connection that is cut off stays open for a moment.
    const clients = await Promise.all(ERRORS.map((_, at) => get(`/feed/${at}`, { connection: 'close' })));
    await closed.count(ERRORS.length);
    await Promise.all(clients.map((client) => client.closed()));

    const seen = neighbour.body.split(';').length;
    await neighbour.until(`${seen + 10};`);
    expect(registry.size).toBe(1);
  });

  it('from a handler goes to the exception filters', async () => {
    let make: () => unknown = () => undefined;
    const feed = (): never => {
      throw make();
    };
    const { url } = await start(platform, {
      controllers: [controllerOf(feed)],
      configure: (app: INestApplication) => void app.useGlobalFilters(new Filter()),
    });

    for (const [what, hostile] of ERRORS.filter(([name]) => !name.includes('Proxy'))) {
      make = hostile;
      const response = await fetch(url('/source'));
      expect([what, response.status, await response.text()]).toEqual([what, 500, 'filtered']);
    }
  });

  it('may be logged by a logger that throws, which has no other effect', async () => {
    const warnings = new Recorder();
    const warned = ({ message }: Error): void => warnings.add(message);
    realProcess.on('warning', warned);
    const { get, logs } = await start(platform, { controllers: [controllerOf(() => later(broken))] });
    logs.error = broken;
    const client = await get('/source');
    await client.closed();
    await warnings.count(1);
    realProcess.off('warning', warned);

    expect(warnings.seen).toContain('The logger of the application threw: broken');
  });
});

describe('Functions called with hostile values', () => {
  const FIELDS = ['id', 'type', 'retry', 'data'] as const;

  it.each(FIELDS)('formatSse() throws for a hostile %s', (field) => {
    const values = [revoked(), trapped(), cycle(), Promise.resolve(1), Symbol('s')];
    for (const value of field === 'data' ? values : [...values, Object.create(null), broken]) {
      expect(() => formatSse({ data: 1, [field]: value })).toThrow();
    }
  });

  it('formatSse() throws an error that names a promise', () => {
    expect(() => formatSse({ data: Promise.reject(new Error('never seen')) })).toThrow(
      expect.objectContaining({ code: 'not-serializable', message: expect.stringContaining('$ is a promise') }),
    );
  });

  it('abortable() rejects with the value that a hostile promise or iterable throws', async () => {
    const { signal } = new AbortController();
    await expect(abortable(thenable(broken) as PromiseLike<unknown>, signal)).rejects.toThrow('broken');
    for (const next of [broken, () => 7, () => step('done'), () => step('value')]) {
      const read = async (): Promise<void> => {
        for await (const _ of abortable(
          { [Symbol.asyncIterator]: () => ({ next }) } as AsyncIterable<unknown>,
          signal,
        )) {
          break;
        }
      };
      await expect(read()).rejects.toThrow();
    }
  });

  it('abortable() reports a clean-up that throws a value that cannot be described as a warning', async () => {
    const warnings = new Recorder();
    const warned = ({ message }: Error): void => warnings.add(message);
    realProcess.on('warning', warned);
    const controller = new AbortController();
    const stuck = { next: () => FOREVER, return: () => Promise.reject(undescribable()) };
    const reading = abortable(
      { [Symbol.asyncIterator]: () => stuck } as AsyncIterable<unknown>,
      controller.signal,
    ).next();
    controller.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await warnings.count(1);
    realProcess.off('warning', warned);

    expect(warnings.seen).toEqual([expect.stringContaining('could not clean up')]);
  });
});

const HUB_FAILURES = failing();

@Controller()
class Watch {
  constructor(@InjectHub('hostile') private readonly hub: Hub) {}

  @Sse('watch')
  watch() {
    return this.hub.subscribe();
  }

  @Sse('filtered/throws')
  throwing() {
    return this.hub.subscribe({ filter: broken });
  }

  @Sse('filtered/rejects')
  rejecting() {
    return this.hub.subscribe({ filter: (() => Promise.reject(new Error('never seen'))) as unknown as () => boolean });
  }
}

describe.each(PLATFORMS)('%s: with hostile values,', (platform) => {
  it.each<[string, () => unknown, RegExp]>([
    ['a promise', () => Promise.reject(new Error('never seen')), /returned Promise/],
    ['undefined', () => undefined, /returned undefined/],
    ['a number', () => 7, /returned number/],
    ['a revoked Proxy', revoked, /returned an object/],
    [
      'nothing, as it throws what cannot be described',
      () => {
        throw undescribable();
      },
      /cannot be/,
    ],
  ])('a format whose encode() returns %s makes its stream fail', async (_what, encode, message) => {
    const { errors, hooks } = failing();
    const format = defineFormat({ name: 'own', mediaTypes: ['text/own'], encode: encode as () => string });
    const { get } = await start(platform, {
      controllers: [controllerOf(() => ['a'], { format }), Neighbour],
      options: { hooks },
    });
    const neighbour = await get('/neighbour');

    const client = await get('/source');
    await client.until('HTTP/1.1 500');

    expect(textOf((await errors.count(1))[0])).toMatch(message);
    await neighbour.until('3;');
  });

  it('publish() rejects data that cannot be sent, and publishes the next data', async () => {
    const { app, get } = await startHub();
    const client = await get('/watch');
    await client.until('id: ');
    const hub = app.get<Hub>(getHubToken('hostile'));
    for (const [what, make, message] of CHUNKS) {
      const outcome = await hub.publish(make()).then(
        () => 'published',
        (error: unknown) => error,
      );
      expect([what, textOf(outcome)]).toEqual([what, expect.stringMatching(HUB_MESSAGES[what] ?? message)]);
      expect([what, outcome]).toEqual([what, expect.objectContaining({ code: expect.any(String) })]);
    }
    for (const options of [{ topic: revoked() }, { type: trapped() }, { key: cycle() }, revoked(), 7]) {
      await expect(hub.publish('x', options as object)).rejects.toThrow();
    }

    await hub.publish('fine');
    await client.until('data: fine');
  });

  it('a filter of subscribe() that throws or returns a promise makes only its subscription fail', async () => {
    const { app, get } = await startHub();
    const { errors } = HUB_FAILURES;
    const before = errors.seen.length;
    const client = await get('/watch');
    await client.until('id: ');
    const others = [await get('/filtered/throws'), await get('/filtered/rejects')];
    for (const other of others) {
      await other.until('id: ');
    }

    await app.get<Hub>(getHubToken('hostile')).publish('fine');

    await client.until('data: fine');
    await Promise.all(others.map((other) => other.closed()));
    await errors.count(before + 2);
    expect(errors.seen.slice(before).map(textOf).toSorted()).toEqual([
      expect.stringContaining('returned a promise'),
      expect.stringContaining('broken'),
    ]);
  });

  it('subscribe() refuses options that are not an object', async () => {
    const { app } = await startHub();
    const hub = app.get<Hub>(getHubToken('hostile'));
    for (const options of [
      7,
      revoked(),
      { topic: 7 },
      { topic: trapped() },
      { filter: 7 },
      { signal: {} },
      { queue: 7 },
    ]) {
      expect(() => hub.subscribe(options as object)).toThrow();
    }
  });

  it('registry.close() rejects with the error of its function, and refuses a promise, which would match all streams', async () => {
    const { get, registry } = await start(platform, { controllers: [Neighbour] });
    const client = await get('/neighbour');
    await client.until('1;');

    await expect(registry.close(broken)).rejects.toThrow('broken');
    await expect(registry.close((async () => false) as unknown as () => boolean)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: 'The function given to StreamRegistry.close() returned a promise: it has to answer at once',
    });
    await expect(registry.close((() => Promise.reject(new Error('never seen'))) as never)).rejects.toThrow('a promise');
    expect(registry.size).toBe(1);
  });

  it.each(CHUNKS)(
    'an onShutdown that returns %s does not prevent the application from closing',
    async (_what, make) => {
      const { get, close } = await start(platform, {
        controllers: [Neighbour],
        options: { hooks: { onShutdown: make } },
      });
      const client = await get('/neighbour');
      await client.until('1;');

      await close();
      await client.closed();
    },
  );

  it.each(CHUNKS)('an onError that returns %s causes a line in the log', async (_what, make) => {
    const { get, logs } = await start(platform, {
      controllers: [controllerOf(() => later(() => Promise.reject(new Error('first'))), { format: 'ndjson' })],
      options: { hooks: { onError: make } },
    });
    const client = await get('/source');
    await client.closed();

    expect(client.complete).toBe(false);
    expect(client.body).toContain('"error"');
    expect(logs.of('error').join('\n')).toMatch(/failed after[\s\S]*the onError hook threw/);
  });

  it('hooks that are Proxies whose traps throw make the stream or the start-up fail', async () => {
    const { errors, hooks } = failing();
    @Controller()
    class Feed {
      @Stream('feed')
      feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(trapped());
        return ['a'];
      }
    }
    const { url } = await start(platform, { controllers: [Feed], options: { hooks } });

    expect((await fetch(url('/feed'))).status).toBe(500);
    expect(textOf((await errors.count(1))[0])).toContain('broken');
  });

  /** Text and bytes are published unchanged, so a hub has other messages for some values. */
  const HUB_MESSAGES: Readonly<Record<string, RegExp>> = {
    'a promise that rejects': /\$ is a promise/,
    'a promise of a promise that rejects': /\$ is a promise/,
    'a thenable that rejects': /\$ is a promise|has no JSON form/,
    'a thenable whose then() throws': /\$ is a promise/,
    'an object whose then throws when it is read': /./,
  };

  function startHub() {
    return start(platform, {
      imports: [StreamingModule.registerHub({ name: 'hostile' })],
      controllers: [Watch],
      options: { hooks: HUB_FAILURES.hooks },
    });
  }
});
