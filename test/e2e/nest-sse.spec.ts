import { readFileSync } from 'node:fs';
import {
  Body,
  type CanActivate,
  Controller,
  Get,
  Header,
  HttpCode,
  HttpException,
  type NestInterceptor,
  Sse as NestSse,
  NotFoundException,
  Param,
  Post,
  Query,
  RequestMethod,
  type Type,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import {
  BehaviorSubject,
  concat,
  defer,
  delay,
  EMPTY,
  endWith,
  from,
  interval,
  map,
  merge,
  type Observable,
  of,
  ReplaySubject,
  range,
  scan,
  startWith,
  take,
  throwError,
  timer,
  toArray,
} from 'rxjs';
import { Sse } from '../../lib/index.js';
import { PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { NEST_MAJOR } from '../support/nest.js';
import { RawClient } from '../support/raw-client.js';

/**
 * Controllers written for the `@Sse()` of `@nestjs/common`, run with it and with ours. What they send is the same, or the difference
 * stands in the table of docs/migrating.md: these are its rows, by their first column.
 */
const DIFFERENCES_OF_BODIES = [
  'first line of the body',
  'ids',
  'error after the first event',
  'object with other keys than event fields',
  'object with only `type` or `id`',
  'array or binary instead of an event',
  '`null`, or `data` that is `null`',
  '`undefined`, or `data` that is `undefined`',
  '`data` that is a function or a symbol',
  '`data` that is binary',
  'line break in `type` or `id`',
  '`retry` that is not a whole number',
  '`retry` without `data`',
  '`type` that is `0`',
  'result that is not an Observable',
] as const;
const DIFFERENCES_OF_HEADS = ['`Cache-Control`', '`Pragma` and `Expires`'] as const;
const OTHER_DIFFERENCES = [
  'signal',
  'head',
  '`maxPendingDataLength`',
  'client that does not read',
  'heartbeats',
  "`@Sse('x')` above `@Post('x')`",
  '`app.close()`',
] as const;

type Difference = (typeof DIFFERENCES_OF_BODIES)[number];

interface Case {
  /** Returns the values that the controller sends. */
  readonly what: string;
  readonly produce: () => unknown;
  /** Decorators next to `@Sse()`, outermost last. */
  readonly decorators?: readonly MethodDecorator[];
  /** Why the bodies differ. With `ids` alone, they are the same except for the ids that Nest generates. */
  readonly differs?: readonly Difference[];
  /** The body of this package, if it differs in more than ids. */
  readonly ours?: string | RegExp;
  readonly method?: string;
}

class Reading {
  readonly sensor = 'private';
  constructor(private readonly celsius: number) {}
  get type() {
    return 'reading';
  }
  get id() {
    return '7';
  }
  get data() {
    return { celsius: this.celsius };
  }
}

class Price {
  constructor(
    readonly id: string,
    readonly data: object,
  ) {}
}

const cycle: { self?: unknown } = {};
cycle.self = cycle;

const refuses: CanActivate = { canActivate: () => false };
const wraps: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(map((data: unknown, i) => ({ id: String(i), data: { wrapped: data } }))),
};
const appends: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(endWith({ id: 'end', data: 'end' })),
};
const setsType: NestInterceptor = {
  intercept: (context, next) => {
    context
      .switchToHttp()
      .getResponse<{ header(name: string, value: string): void }>()
      .header('Content-Type', 'application/json');
    return next.handle();
  },
};

/** One event with its own id. */
const event =
  (fields: object): (() => Observable<unknown>) =>
  () =>
    of({ id: '1', ...fields });
const values =
  (...all: unknown[]): (() => Observable<unknown>) =>
  () =>
    from(all);
const IDS: Pick<Case, 'differs'> = { differs: ['ids'] };
const ERROR = /^id: 1\ndata: a\n\nevent: error\ndata: .*\n\n$/;

const CASES: readonly Case[] = [
  { what: 'an object', produce: event({ data: { eur: 4.2 } }) },
  { what: 'a type', produce: event({ type: 'price', data: { eur: 4.2 } }) },
  { what: 'every field', produce: event({ type: 'price', data: { eur: 1 }, retry: 500, comment: 'c' }) },
  { what: 'a string', produce: event({ data: 'hello' }) },
  { what: 'an empty string', produce: event({ data: '' }) },
  { what: 'lines that end in LF', produce: event({ data: 'a\nb\n' }) },
  { what: 'lines that end in CRLF', produce: event({ data: 'a\r\nb' }) },
  { what: 'lines that end in CR', produce: event({ data: 'a\rb\r\r' }) },
  { what: 'text that looks like fields', produce: event({ data: 'data: x\nid: 9\n\nevent: y' }) },
  { what: 'text outside of ASCII', produce: event({ data: 'größe ✓ 👋🏽 \u2028' }) },
  { what: 'a long string', produce: event({ data: 'x'.repeat(100_000) }) },
  { what: 'JSON that is text already', produce: event({ data: JSON.stringify({ a: 1 }, null, 2) }) },
  { what: 'a number', produce: event({ data: 42 }) },
  { what: 'zero', produce: event({ data: 0 }) },
  { what: 'NaN', produce: event({ data: Number.NaN }) },
  { what: 'a boolean', produce: event({ data: false }) },
  { what: 'an array', produce: event({ data: [1, 'two', { three: 3 }] }) },
  { what: 'nested objects', produce: event({ data: { a: { b: [{ c: null }] } } }) },
  { what: 'an object with line breaks in it', produce: event({ data: { text: 'a\nb\r' } }) },
  { what: 'a Date', produce: event({ data: new Date(0) }) },
  { what: 'an object with toJSON()', produce: event({ data: { toJSON: () => ({ a: 1 }) } }) },
  { what: 'a Map', produce: event({ data: new Map([[1, 2]]) }) },
  { what: 'a BigInt', produce: event({ data: { n: 1n } }) },
  { what: 'a cycle', produce: event({ data: cycle }) },
  { what: 'a comment', produce: values({ comment: 'hint' }, { comment: 'a\nb' }) },
  {
    what: 'a retry alone',
    produce: values({ retry: 500 }),
    differs: ['ids', '`retry` without `data`'],
    ours: 'retry: 500\n',
  },
  { what: 'a retry of zero', produce: event({ retry: 0, data: 'a' }) },
  { what: 'a retry that is a string of digits', produce: event({ retry: '3000', data: 'a' }) },
  { what: 'a type that is a number', produce: event({ type: 404, data: 'a' }) },
  { what: 'an empty type', produce: event({ type: '', data: 'a' }) },
  { what: 'a type with spaces and colons', produce: event({ type: ' a: b', data: 'a' }) },
  { what: 'a type that is null', produce: event({ type: null, data: 'a' }) },
  { what: 'an id that is a number', produce: values({ id: 0, data: 'a' }, { id: 7, data: 'b' }) },
  { what: 'an id that is a BigInt', produce: values({ id: 7n, data: 'b' }) },
  { what: 'an empty id', produce: values({ id: '', data: 'a' }) },
  { what: 'an id that is null', produce: values({ id: null, data: 'a' }), ...IDS },
  { what: 'no id', produce: values({ data: 'a' }, { data: 'b', type: 't' }), ...IDS },
  { what: 'a key without a value', produce: event({ data: 'x', foo: undefined }) },
  { what: 'an instance of a class with getters', produce: () => of(new Reading(21)) },
  { what: 'an instance of a class with fields', produce: () => of(new Price('1', { eur: 1 })) },
  { what: 'a MessageEvent of the DOM', produce: () => of(new MessageEvent('price', { data: { eur: 1 } })), ...IDS },
  {
    what: 'an object without a prototype',
    produce: () => of(Object.assign(Object.create(null), { id: '1', data: 'a' })),
  },
  { what: 'a frozen object', produce: () => of(Object.freeze({ id: '1', data: 'a' })) },
  { what: 'strings in place of events', produce: values('a', 'b\nc', ''), ...IDS },
  { what: 'numbers in place of events', produce: values(1, 0), ...IDS },
  { what: 'booleans in place of events', produce: values(true, false), ...IDS },
  {
    what: 'an interval',
    produce: () =>
      interval(1).pipe(
        take(3),
        map((n) => ({ id: `${n}`, data: { n } })),
      ),
  },
  { what: 'a timer', produce: () => timer(1).pipe(map(() => ({ id: '1', data: 'late' }))) },
  { what: 'a range', produce: () => range(1, 500).pipe(map((n) => ({ id: `${n}`, data: { n } }))) },
  { what: 'a merge', produce: () => merge(of({ id: '1', data: 'a' }), of({ id: '2', data: 'b' })) },
  {
    what: 'one after another',
    produce: () => concat(of({ id: '1', data: 'a' }), of({ id: '2', data: 'b' }).pipe(delay(1))),
  },
  {
    what: 'a scan with a first value',
    produce: () =>
      range(1, 3).pipe(
        startWith(0),
        scan((a, b) => a + b, 0),
        map((n) => ({ id: `${n}`, data: n })),
      ),
  },
  {
    what: 'values in an array',
    produce: () =>
      range(1, 3).pipe(
        toArray(),
        map((data) => ({ id: '1', data })),
      ),
  },
  { what: 'a promise', produce: () => from(Promise.resolve({ id: '1', data: 'a' })) },
  {
    what: 'an async generator',
    produce: () =>
      from(
        (async function* () {
          yield { id: '1', data: 'a' };
          yield { id: '2', data: 'b' };
        })(),
      ),
  },
  { what: 'what is made for each client', produce: () => defer(() => of({ id: '1', data: 'a' })) },
  { what: 'a BehaviorSubject', produce: () => new BehaviorSubject({ id: '1', data: 'now' }).pipe(take(1)) },
  {
    what: 'a ReplaySubject',
    produce: () => {
      const log = new ReplaySubject();
      log.next({ id: '1', data: 'a' });
      log.next({ id: '2', data: 'b' });
      log.complete();
      return log;
    },
  },
  { what: 'nothing', produce: () => EMPTY },
  { what: 'a promise of an Observable', produce: async () => of({ id: '1', data: 'a' }) },
  { what: 'an error at once', produce: () => throwError(() => new Error('secret')) },
  { what: 'an HttpException at once', produce: () => throwError(() => new NotFoundException('no such feed')) },
  {
    what: 'a handler that throws',
    produce: () => {
      throw new HttpException('teapot', 418);
    },
  },
  {
    what: 'a handler that rejects',
    produce: async () => {
      throw new NotFoundException();
    },
  },
  { what: 'a guard that refuses', produce: event({ data: 'a' }), decorators: [UseGuards(refuses)] },
  { what: 'an interceptor that wraps', produce: values('a', { b: 1 }), decorators: [UseInterceptors(wraps)] },
  { what: 'an interceptor that appends', produce: event({ data: 'a' }), decorators: [UseInterceptors(appends)] },
  {
    what: 'an interceptor that sets a Content-Type',
    produce: event({ data: 'a' }),
    decorators: [UseInterceptors(setsType)],
  },
  {
    what: 'a Content-Type of its own',
    produce: event({ data: 'a' }),
    decorators: [Header('Content-Type', 'application/json')],
  },
  { what: 'a header of its own', produce: event({ data: 'a' }), decorators: [Header('X-Feed', 'yes')] },
  { what: 'a status of its own', produce: event({ data: 'a' }), decorators: [HttpCode(202)] },
  {
    what: 'an error after an event',
    produce: () =>
      concat(
        of({ id: '1', data: 'a' }),
        timer(1).pipe(
          map(() => {
            throw new Error('secret');
          }),
        ),
      ),
    differs: ['error after the first event'],
    ours: ERROR,
  },
  {
    what: 'an HttpException after an event',
    produce: () =>
      concat(
        of({ id: '1', data: 'a' }),
        timer(1).pipe(
          map(() => {
            throw new NotFoundException('gone');
          }),
        ),
      ),
    differs: ['error after the first event'],
    ours: ERROR,
  },
  {
    what: 'data that is null',
    produce: event({ data: null }),
    differs: ['`null`, or `data` that is `null`'],
    ours: 'id: 1\ndata: null\n\n',
  },
  { what: 'null', produce: values(null), differs: ['`null`, or `data` that is `null`'], ours: 'data: null\n\n' },
  {
    what: 'undefined, as of a Subject<void>',
    produce: values(undefined, { id: '1', data: 'a' }, undefined),
    differs: ['`undefined`, or `data` that is `undefined`'],
    ours: 'id: 1\ndata: a\n\n',
  },
  {
    what: 'data that is undefined',
    produce: values({ data: undefined }, { id: '1', data: 'a' }),
    differs: ['`undefined`, or `data` that is `undefined`'],
    ours: 'id: 1\ndata: a\n\n',
  },
  {
    what: 'an object without data',
    produce: values({ price: 1 }),
    differs: ['object with other keys than event fields'],
    ours: 'data: {"price":1}\n\n',
  },
  {
    what: 'keys beside those of an event',
    produce: event({ data: 'a', at: 7 }),
    differs: ['object with other keys than event fields'],
    ours: 'data: {"id":"1","data":"a","at":7}\n\n',
  },
  {
    what: 'a type alone',
    produce: values({ type: 'ping' }),
    differs: ['object with only `type` or `id`'],
    ours: 'data: {"type":"ping"}\n\n',
  },
  {
    what: 'an id alone',
    produce: values({ id: '1' }),
    differs: ['object with only `type` or `id`'],
    ours: 'data: {"id":"1"}\n\n',
  },
  {
    what: 'an array in place of an event',
    produce: values([1, 2]),
    differs: ['array or binary instead of an event'],
    ours: 'data: [1,2]\n\n',
  },
  {
    what: 'a Buffer in place of an event',
    produce: values(Buffer.from('hi')),
    differs: ['array or binary instead of an event'],
    ours: 'data: aGk=\n\n',
  },
  {
    what: 'a Buffer',
    produce: event({ data: Buffer.from('hi') }),
    differs: ['`data` that is binary'],
    ours: 'id: 1\ndata: aGk=\n\n',
  },
  {
    what: 'a Uint8Array',
    produce: event({ data: Uint8Array.of(1) }),
    differs: ['`data` that is binary'],
    ours: 'id: 1\ndata: AQ==\n\n',
  },
  {
    what: 'a function',
    produce: values({ id: '1', data: 'a' }, { id: '2', data: () => 1 }),
    differs: ['`data` that is a function or a symbol', 'error after the first event'],
    ours: ERROR,
  },
  {
    what: 'a line break in a type',
    produce: values({ id: '1', data: 'a' }, { id: '2', type: 'a\nb', data: 'a' }),
    differs: ['line break in `type` or `id`', 'error after the first event'],
    ours: ERROR,
  },
  {
    what: 'a line break in an id',
    produce: values({ id: '1', data: 'a' }, { id: 'a\nb', data: 'a' }),
    differs: ['line break in `type` or `id`', 'error after the first event'],
    ours: ERROR,
  },
  {
    what: 'a retry that is a fraction',
    produce: values({ id: '1', data: 'a' }, { id: '2', retry: 1.5, data: 'a' }),
    differs: ['`retry` that is not a whole number', 'error after the first event'],
    ours: ERROR,
  },
  {
    what: 'a type that is zero',
    produce: event({ type: 0, data: 'a' }),
    differs: ['`type` that is `0`'],
    ours: 'event: 0\nid: 1\ndata: a\n\n',
  },
  {
    what: 'an array that is returned',
    produce: () => [{ id: '1', data: 'a' }],
    differs: ['result that is not an Observable'],
    ours: 'id: 1\ndata: a\n\n',
  },
];

/** A controller with all cases, for one of the two decorators. */
function controllerWith(decorator: typeof Sse | typeof NestSse, path: string): Type {
  const Decorated = decorator as typeof Sse;
  @Controller(path)
  class Cases {
    @Decorated(':id/of/:user')
    parameters(@Param('id') id: string, @Param('user') user: string, @Query('q') q?: string) {
      return of({ id, data: { user, q } });
    }

    @Post('posted')
    @Decorated('posted')
    posted(@Body() body: object) {
      return of({ id: '1', data: body });
    }

    @Decorated('option', { method: RequestMethod.POST })
    option(@Body() body: object) {
      return of({ id: '1', data: body });
    }

    @Decorated(['one', 'two'])
    several() {
      return of({ id: '1', data: 'several' });
    }

    @Decorated()
    root() {
      return of({ id: '1', data: 'root' });
    }

    @Get('neighbour')
    neighbour() {
      return { plain: true };
    }
  }
  CASES.forEach(({ produce, decorators = [] }, i) => {
    const descriptor: PropertyDescriptor = {
      value: () => produce(),
      writable: true,
      configurable: true,
      enumerable: false,
    };
    const key = `case${i}`;
    Object.defineProperty(Cases.prototype, key, descriptor);
    Decorated(key)(Cases.prototype, key, descriptor);
    for (const decorate of decorators) {
      decorate(Cases.prototype, key, descriptor);
    }
    Object.defineProperty(Cases.prototype, key, descriptor);
  });
  return Cases;
}

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

async function answerOf(app: TestApp, path: string, method = 'GET', body = ''): Promise<Answer> {
  const client = await RawClient.connect(app.port);
  client.send(
    `${method} ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  // After a clean end, Nest keeps the connection open, whatever the client asks for.
  await client.until(/\r\n0\r\n\r\n$/).catch(() => undefined);
  client.disconnect();
  return { status: Number(client.received.slice(9, 12)), head: client.head.toLowerCase(), body: client.body };
}

/** The responses of both, without parts that differ in every response, and with the same names of routes. */
async function both(app: TestApp, path: string, method?: string, body?: string) {
  const ours = await answerOf(app, `/ours/${path}`.replace(/\/$/, ''), method, body);
  const nest = await answerOf(app, `/nest/${path}`.replace(/\/$/, ''), method, body);
  return { ours, nest: { ...nest, body: nest.body.replace(/^\n/, '') } };
}

const headerIn = (head: string, name: string): string | undefined =>
  new RegExp(`\r\n${name}: (.*)\r\n`).exec(head)?.[1];

// The guide describes the `@Sse()` of Nest 12. That of Nest 11 sends other bodies, and ends the process or hangs for some of these values.
if (NEST_MAJOR > 11) {
  describe.each(PLATFORMS)('%s: a controller written for the @Sse() of @nestjs/common', (platform) => {
    let app: TestApp;

    beforeAll(async () => {
      app = await startApp(platform, { controllers: [controllerWith(Sse, 'ours'), controllerWith(NestSse, 'nest')] });
    });

    afterAll(() => app.close());

    it.each(CASES.map((each, i) => [each.what, each, i] as const))(
      'that sends %s causes the same bytes as with Nest, or those that the guide describes',
      async (_what, { differs = [], ours: expected }, i) => {
        const { ours, nest } = await both(app, `case${i}`);

        if (expected === undefined) {
          expect(ours.body).toBe(differs.includes('ids') ? nest.body.replace(/^id: \d+\n/gm, '') : nest.body);
          expect(ours.body === nest.body).toBe(differs.length === 0);
          expect(ours.status).toBe(nest.status);
          expect(headerIn(ours.head, 'content-type')).toBe(headerIn(nest.head, 'content-type'));
          expect(headerIn(ours.head, 'x-feed')).toBe(headerIn(nest.head, 'x-feed'));
        } else {
          expect(ours.body).toMatch(expected instanceof RegExp ? expected : new RegExp(`^${escaped(expected)}$`));
          expect(ours.body).not.toBe(nest.body);
          expect(differs).not.toEqual([]);
        }
      },
    );

    it.each([
      ['7/of/me?q=x', 'GET', ''],
      ['posted', 'POST', '{"a":1}'],
      ['posted', 'GET', ''],
      ['option', 'POST', '{"a":1}'],
      ['one', 'GET', ''],
      ['two', 'GET', ''],
      ['', 'GET', ''],
      ['neighbour', 'GET', ''],
    ])('responds at the same paths and methods: %s %s', async (path, method, body) => {
      const { ours, nest } = await both(app, path, method, body);

      expect({ ...ours, head: '', body: ours.body.replaceAll('/ours/', '/nest/') }).toEqual({ ...nest, head: '' });
    });

    it('has the same headers, except those that the guide names', async () => {
      const { ours, nest } = await both(app, 'case0');

      for (const name of ['content-type', 'x-accel-buffering']) {
        expect(headerIn(ours.head, name)).toBe(headerIn(nest.head, name));
      }
      expect(headerIn(ours.head, 'cache-control')).toBe('no-cache, no-transform');
      expect(['pragma', 'expires'].map((name) => headerIn(ours.head, name))).toEqual([undefined, undefined]);
      expect(['pragma', 'expires'].map((name) => headerIn(nest.head, name))).toEqual(['no-cache', '0']);
    });
  });
}

describe('The migration guide', () => {
  const guide = readFileSync(new URL('../../docs/migrating.md', import.meta.url), 'utf8');
  const table = /These are the differences:\n\n((?:\|.*\n)+)/.exec(guide)?.[1] ?? '';
  const rows = table
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => line.split('|')[1]?.trim());

  it('names every difference from the @Sse() of @nestjs/common that is tested here, and no other', () => {
    expect([...rows].sort()).toEqual([...DIFFERENCES_OF_BODIES, ...DIFFERENCES_OF_HEADS, ...OTHER_DIFFERENCES].sort());
  });

  it('names only differences of bodies that a controller shows', () => {
    const shown = new Set<string>(['first line of the body', ...CASES.flatMap(({ differs = [] }) => differs)]);

    expect([...shown].sort()).toEqual([...DIFFERENCES_OF_BODIES].sort());
  });

  it('is tested with more than 57 controllers', () => {
    expect(CASES.length).toBeGreaterThan(57);
  });
});

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
