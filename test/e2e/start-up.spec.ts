import {
  Controller,
  type DynamicModule,
  Get,
  type INestApplication,
  Inject,
  Injectable,
  Module,
  Sse as NestSse,
  Redirect,
  Render,
  Scope,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { of } from 'rxjs';
import {
  ConnectedStream,
  getHubToken,
  type Hub,
  Sse,
  type SseOptions,
  Stream,
  type StreamConnection,
  StreamError,
  type StreamHooks,
  StreamingModule,
  type StreamingModuleOptions,
  type StreamOptions,
  StreamSignal,
  UseStreamHooks,
} from '../../lib/index.js';
import { LogRecorder, PLATFORMS, type Platform, startApp } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { deferred } from '../support/events.js';
import { realProcess } from '../support/real-process.js';
import { turns } from '../support/running.js';

const running: INestApplication[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.close()));
});

/** An application with the given imports, which listens. */
async function boot(platform: Platform, imports: (DynamicModule | Type)[], controllers: Type[] = []) {
  const logs = new LogRecorder();
  const root = { module: class Root {}, imports, controllers };
  const settings = { logger: logs, abortOnError: false };
  const app: INestApplication = await (platform === 'express'
    ? NestFactory.create(root, settings)
    : NestFactory.create(root, new FastifyAdapter(), settings));
  running.push(app);
  await app.listen(0, '127.0.0.1');
  return { app, logs, origin: await app.getUrl() };
}

/** Resolves to the error of the start-up. */
async function refusal(run: () => Promise<unknown>): Promise<StreamError> {
  try {
    await run();
  } catch (error) {
    expect(error).toBeInstanceOf(StreamError);
    return error as StreamError;
  }
  throw new Error('It started');
}

function refusalOfRoute(platform: Platform, options: unknown): Promise<StreamError> {
  return refusal(() => startApp(platform, { controllers: [controllerOf(() => [], options as StreamOptions)] }));
}

function refusalOfModule(platform: Platform, options: unknown): Promise<StreamError> {
  return refusal(() => startApp(platform, { options: options as StreamingModuleOptions }));
}

const BAD: readonly (readonly [options: object, problem: string])[] = [
  [{ fromat: 'sse' }, 'has an unknown option "fromat". Did you mean "format"? Known: format, flush,'],
  [{ format: 'xml' }, '"format" must be one or several of text, bytes, ndjson, jsonl, json-seq, json, sse'],
  [{ format: 'SSE' }, 'sse or of defineFormat(), not "SSE". Did you mean "sse"?'],
  [{ format: ['ndjson', 'JSON'] }, 'sse or of defineFormat(), not "JSON". Did you mean "json"?'],
  [{ overflow: 'drop_oldest' }, '"drop-newest", not "drop_oldest". Did you mean "drop-oldest"?'],
  [{ heartbeat: '15s' }, '(24.8 days), or false, not "15s"'],
  [{ format: [] }, '"format" must be one or several'],
  [{ format: 7 }, '"format" must be one or several'],
  [{ format: null }, '"format" must be one or several'],
  [{ format: 'toString' }, '"format" must be one or several'],
  [{ format: ['sse', { name: 'csv' }] }, '"format" must be one or several'],
  [{ format: { name: 'csv', mediaTypes: 'text/csv', encode: 1 } }, '"format" must be one or several'],
  [{ flush: 'never' }, '"flush" must be "auto", "each" or { bytes, ms }'],
  [{ flush: { bytes: 1 } }, '"flush" must be "auto", "each" or { bytes, ms }'],
  [{ flush: { bytes: 0, ms: 1 } }, '"flush" must be'],
  [{ flush: { bytes: 1, ms: 1, more: 1 } }, '"flush" must be'],
  [
    { openDelay: '1s' },
    '"openDelay" must be a number of milliseconds above 0 and at most 2147483647 (24.8 days), or 0, or "first-chunk"',
  ],
  [{ openDelay: false }, '"openDelay" of false is now called "first-chunk"'],
  [{ openDelay: true }, '"openDelay" must be'],
  [
    { heartbeat: 0 },
    '"heartbeat" must be a number of milliseconds above 0 and at most 2147483647 (24.8 days), or false',
  ],
  [{ heartbeat: Number.NaN }, '"heartbeat" must be'],
  [{ heartbeat: -1 }, '"heartbeat" must be'],
  [{ sendTimeout: null }, '"sendTimeout" must be'],
  [{ maxDuration: {} }, '"maxDuration" must be'],
  [{ queue: 5 }, '"queue" must be an object with items, bytes'],
  [{ queue: { items: 0 } }, '"queue.items" must be a number above 0'],
  [{ queue: { events: 5 } }, '"queue.events" is now called "items"'],
  [{ queue: { bites: 1 } }, '"queue" has an unknown option "bites". Did you mean "bytes"? Known: items, bytes'],
  [{ overflow: 'explode' }, '"overflow" must be one of "disconnect", "drop-oldest", "drop-newest"'],
  [{ errorEvent: '' }, '"errorEvent" must be a string without line breaks'],
  [{ errorEvent: 'a\nb' }, '"errorEvent" must be a string without line breaks'],
  [{ errorEvent: 7 }, '"errorEvent" must be'],
  [{ limits: { connections: 1.5 } }, '"limits.connections" must be a whole number above 0'],
  [{ limits: { perClient: '2' } }, '"limits.perClient" must be a whole number above 0'],
  [{ browser: 'yes' }, '"browser" must be true or false'],
  [{ limits: { perConnection: 0 } }, '"limits.perConnection" must be a whole number above 0'],
  [{ limits: { retryAfter: -5 } }, '"limits.retryAfter" must be a number of milliseconds above 0'],
  [{ limits: { clientOf: 'ip' } }, '"limits.clientOf" must be a function'],
  [{ limits: { max: 1 } }, '"limits" has an unknown option "max". Known: connections,'],
  [{ HeartBeat: 1 }, 'has an unknown option "HeartBeat". Did you mean "heartbeat"? Known: '],
  [{ hearbeat: 1 }, 'has an unknown option "hearbeat". Did you mean "heartbeat"? Known: '],
  [{ sendTimeuot: 1 }, 'has an unknown option "sendTimeuot". Did you mean "sendTimeout"? Known: '],
  [{ keepAlive: 1 }, 'has an unknown option "keepAlive". Known: '],
];

const LONGEST_MS = 2 ** 31 - 1;
const NO_DURATIONS = [LONGEST_MS + 1, Number.POSITIVE_INFINITY, Number.NaN, -1, '5', null] as const;
const DURATIONS: readonly (readonly [option: string, ofRoutes: boolean, options: (value: unknown) => object])[] = [
  ['openDelay', true, (value) => ({ openDelay: value })],
  ['heartbeat', true, (value) => ({ heartbeat: value })],
  ['sendTimeout', true, (value) => ({ sendTimeout: value })],
  ['maxDuration', true, (value) => ({ maxDuration: value })],
  ['flush', true, (value) => ({ flush: { bytes: 1, ms: value } })],
  ['limits.retryAfter', true, (value) => ({ limits: { retryAfter: value } })],
  ['shutdown.grace', false, (value) => ({ shutdown: { grace: value } })],
  ['shutdown.retry', false, (value) => ({ shutdown: { retry: value } })],
];

describe.each(PLATFORMS)('%s: at start-up is refused', (platform) => {
  it.each(BAD)('for a route: %j', async (options, problem) => {
    const { code, message } = await refusalOfRoute(platform, options);

    expect(code).toBe('invalid-option');
    expect(message).toContain('@Stream() of Sources.source');
    expect(message).toContain(problem);
  });

  it.each([
    ...BAD,
    [{ method: 0 }, 'has an unknown option "method"'],
    [{ refusal: 'never' }, '"refusal" must be one of "retry", "status"'],
    [
      { shutdown: { grace: -1 } },
      '"shutdown.grace" must be a number of milliseconds above 0 and at most 2147483647 (24.8 days)',
    ],
    [{ shutdown: { grase: 1 } }, '"shutdown" has an unknown option "grase". Did you mean "grace"? Known: grace, retry'],
    [{ shutdown: { retry: 'soon' } }, '"shutdown.retry" must be'],
    [{ hooks: 'log' }, '"hooks" must be an object with hooks, a class, or several of them'],
  ] as const)('for the application: %j', async (options, problem) => {
    const { code, message } = await refusalOfModule(platform, options);

    expect(code).toBe('invalid-option');
    expect(message).toContain('StreamingModule.forRoot()');
    expect(message).toContain(problem);
  });

  it.each(DURATIONS)('a value that is not a duration of a timer: %s', async (option, ofRoutes, options) => {
    for (const value of NO_DURATIONS) {
      const refusals = [await refusalOfModule(platform, options(value))];
      if (ofRoutes) {
        refusals.push(await refusalOfRoute(platform, options(value)));
      }

      for (const { code, message } of refusals) {
        expect(code).toBe('invalid-option');
        expect(message).toContain(`"${option}" must be `);
        expect(message).toContain('2147483647');
      }
    }
  });

  it.each([
    [
      'a heartbeat for a format without heartbeats',
      { format: 'text', heartbeat: 5 },
      '"heartbeat" contradicts "format"',
    ],
    ['an errorEvent for a format without events', { format: 'ndjson', errorEvent: 'x' }, '"errorEvent" contradicts'],
    ['a method that is not a RequestMethod', { method: 'POST' }, '"method" must be a RequestMethod'],
  ])('%s', async (_what, options, problem) => {
    const { message } = await refusalOfRoute(platform, options);

    expect(message).toContain('Sources.source');
    expect(message).toContain(problem);
  });

  it.each([
    ['a format for @Sse()', { format: 'json' }, '"format"'],
    ['a maxPendingDataLength that is no number', { maxPendingDataLength: 'much' }, '"maxPendingDataLength" must be'],
  ])('%s', async (_what, options, problem) => {
    @Controller()
    class Events {
      @Sse('events', options as SseOptions)
      events() {
        return [];
      }
    }
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Events] }));

    expect(code).toBe('invalid-option');
    expect(message).toContain('@Sse() of Events.events');
    expect(message).toContain(problem);
  });

  it.each([
    ['@Render()', Render('page')],
    ['@Redirect()', Redirect('/')],
    ['the @Sse() of Nest', NestSse('events')],
  ])('a stream that also has %s', async (_what, other) => {
    @Controller()
    class Twice {
      @other
      @Stream()
      twice() {
        return of('a');
      }
    }
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Twice] }));

    expect(code).toBe('invalid-route');
    expect(message).toContain('Twice.twice');
  });

  it('a route that is not a stream, but injects one', async () => {
    @Controller()
    class Plain {
      @Get('plain')
      plain(@StreamSignal() _signal: AbortSignal) {
        return 'plain';
      }
    }
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Plain] }));

    expect(code).toBe('invalid-route');
    expect(message).toBe('Plain.plain injects a stream, but has neither @Stream() nor @Sse()');
  });

  it('a method that another decorator maps elsewhere', async () => {
    @Controller()
    class Elsewhere {
      @Get('there')
      @Stream('here')
      elsewhere() {
        return [];
      }
    }
    const { message } = await refusal(() => startApp(platform, { controllers: [Elsewhere] }));

    expect(message).toContain('Elsewhere.elsewhere is mapped twice');
  });

  it.each([
    ['are empty', {}],
    ['have none that is known', { onOpened: () => undefined }],
  ])('hooks that %s', async (_what, hooks: object) => {
    @Controller()
    @UseStreamHooks(hooks as StreamHooks)
    class Hooked {
      @Stream()
      hooked() {
        return [];
      }
    }
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Hooked] }));

    expect(code).toBe('invalid-hook');
    expect(message).toContain('Hooked.hooked');
  });

  it('hooks that are undefined, as a class in an import cycle is', async () => {
    @Controller()
    class Hooked {
      @Stream()
      @UseStreamHooks(undefined as unknown as StreamHooks)
      hooked() {
        return [];
      }
    }
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Hooked] }));

    expect(code).toBe('invalid-hook');
    expect(message).toContain('A hook of Hooked.hooked is undefined.');
  });

  it('hooks of a method that is not a stream', async () => {
    @Controller()
    class Hooked {
      @Get()
      @UseStreamHooks({ onClose: () => undefined })
      hooked() {
        return 'plain';
      }
    }
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Hooked] }));

    expect(code).toBe('invalid-route');
    expect(message).toBe('Hooked.hooked has @UseStreamHooks(), but neither @Stream() nor @Sse()');
  });

  it('a class of hooks that is request-scoped, listed as a provider or not', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest implements StreamHooks {
      onClose() {
        return undefined;
      }
    }
    @Controller()
    class Hooked {
      @Stream()
      @UseStreamHooks(PerRequest)
      hooked() {
        return [];
      }
    }
    for (const providers of [[], [PerRequest]]) {
      const { code, message } = await refusal(() => startApp(platform, { controllers: [Hooked], providers }));

      expect(code).toBe('invalid-hook');
      expect(message).toMatch(/PerRequest.*Hooked\.hooked/);
    }
  });

  it('a class of hooks that is request-scoped only by what it injects', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class OfRequest {}
    @Injectable()
    class Hooks implements StreamHooks {
      constructor(@Inject(OfRequest) readonly ofRequest: OfRequest) {}

      onClose() {
        return undefined;
      }
    }
    @Controller()
    class Hooked {
      @Stream()
      @UseStreamHooks(Hooks)
      hooked() {
        return [];
      }
    }
    const providers = [OfRequest, Hooks];
    const { code, message } = await refusal(() => startApp(platform, { controllers: [Hooked], providers }));

    expect(code).toBe('invalid-hook');
    expect(message).toMatch(/Hooks.*Hooked\.hooked.*is request-scoped/);
  });

  it('a module that is imported twice with different options', async () => {
    @Module({ imports: [StreamingModule.forRoot({ format: 'json' })] })
    class Feature {}

    const { code } = await refusal(() => boot(platform, [StreamingModule.forRoot({ format: 'sse' }), Feature]));

    expect(code).toBe('module-duplicate');
  });
});

describe.each(PLATFORMS)('%s: the longest durations', (platform) => {
  it('do not elapse at once', async () => {
    const warnings: string[] = [];
    const note = ({ name }: Error): void => void warnings.push(name);
    realProcess.on('warning', note);
    const [waiting, released] = [deferred(), deferred()];
    async function* produce() {
      yield 'a';
      waiting.resolve();
      await released.promise;
      yield 'b';
    }
    const options: StreamingModuleOptions = {
      format: 'text',
      flush: { bytes: 1_000, ms: LONGEST_MS },
      openDelay: LONGEST_MS,
      heartbeat: LONGEST_MS,
      sendTimeout: LONGEST_MS,
      maxDuration: LONGEST_MS,
      shutdown: { grace: LONGEST_MS, retry: LONGEST_MS },
    };
    const hub = StreamingModule.registerHub({ name: 'old', history: { ttl: 2 * LONGEST_MS } });
    const app = await startApp(platform, { controllers: [controllerOf(produce)], imports: [hub], options });
    await app.app.get<Hub>(getHubToken('old')).publish('kept');
    const answer = fetch(app.url('/source'));
    await waiting.promise;

    const closing = app.close();
    await turns(20);
    released.resolve();

    expect(await (await answer).text()).toBe('ab');
    await closing;
    realProcess.off('warning', note);
    expect(warnings).not.toContain('TimeoutOverflowWarning');
  });
});

describe('while a class is defined is refused', () => {
  it('a method that is mapped twice', () => {
    const define = () => {
      class Twice {
        @Stream('here')
        @Get('there')
        twice() {
          return [];
        }
      }
      return Twice;
    };

    expect(define).toThrow('Twice.twice is mapped twice');
  });

  it('a method that has both @Stream() and @Sse()', () => {
    const define = () => {
      class Both {
        @Stream('a')
        @Sse('b')
        both() {
          return [];
        }
      }
      return Both;
    };

    expect(define).toThrow('Both.both has both @Stream() and @Sse()');
  });
});

describe.each(PLATFORMS)('%s: the module', (platform) => {
  @Controller()
  class Numbers {
    @Stream('numbers')
    numbers() {
      return [1, 2];
    }

    @Stream('connected')
    connected(@ConnectedStream() _stream: StreamConnection) {
      return [1, 2];
    }
  }

  it.each([
    ['a factory', { useFactory: async () => ({ format: 'sse' as const }) }],
    ['a class', { useClass: Options() }],
  ])('receives its options from %s', async (_what, asyncOptions) => {
    const { origin } = await boot(platform, [StreamingModule.forRootAsync(asyncOptions)], [Numbers]);

    expect(await (await fetch(`${origin}/numbers`)).text()).toBe('data: 1\n\ndata: 2\n\n');
  });

  it('receives its options from an injected provider', async () => {
    @Injectable()
    class Config {
      readonly format = 'json';
    }
    @Module({ providers: [Config], exports: [Config] })
    class ConfigModule {}
    const module = StreamingModule.forRootAsync({
      imports: [ConfigModule],
      inject: [Config],
      useFactory: ({ format }: Config) => ({ format }),
    });
    const { origin } = await boot(platform, [module], [Numbers]);

    expect(await (await fetch(`${origin}/numbers`)).text()).toBe('[1,2]');
  });

  it('checks options also if they are asynchronous', async () => {
    const module = StreamingModule.forRootAsync({ useFactory: () => ({ format: 'xml' }) as unknown as StreamOptions });

    expect((await refusal(() => boot(platform, [module], [Numbers]))).message).toContain('"format" must be');
  });

  it('may be imported again with the same options', async () => {
    const streaming = StreamingModule.forRoot({ format: 'json' });
    @Module({ imports: [streaming], controllers: [Numbers] })
    class Feature {}
    const { origin } = await boot(platform, [streaming, Feature]);

    expect(await (await fetch(`${origin}/numbers`)).text()).toBe('[1,2]');
  });

  it('serves streams of modules that do not import it', async () => {
    @Module({ controllers: [Numbers] })
    class Feature {}
    const { origin } = await boot(platform, [Feature, StreamingModule.forRoot()]);

    expect(await (await fetch(`${origin}/numbers`)).text()).toBe('1\n2\n');
  });

  it('needs neither options nor streams', async () => {
    @Controller()
    class Plain {
      @Get('plain')
      plain() {
        return 'plain';
      }
    }
    const { origin } = await boot(platform, [StreamingModule.forRoot()], [Plain]);

    expect(await (await fetch(`${origin}/plain`)).text()).toBe('plain');
  });

  it('may be created without a server', async () => {
    const context = await NestFactory.createApplicationContext(
      { module: class Root {}, imports: [StreamingModule.forRoot()], controllers: [Numbers] },
      { logger: false },
    );

    await expect(context.close()).resolves.toBeUndefined();
  });
});

function Options(): Type<{ create(): StreamingModuleOptions }> {
  @Injectable()
  class ModuleOptions {
    create(): StreamingModuleOptions {
      return { format: 'sse' };
    }
  }
  return ModuleOptions;
}
