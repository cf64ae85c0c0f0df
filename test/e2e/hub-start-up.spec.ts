import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CanActivate,
  Catch,
  Controller,
  type DynamicModule,
  type ExceptionFilter,
  Get,
  type INestApplication,
  Inject,
  Injectable,
  type MiddlewareConsumer,
  Module,
  type NestMiddleware,
  type NestModule,
  Optional,
  Param,
  Post,
  Query,
  Scope,
  type Type,
  UseFilters,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { APP_GUARD, LazyModuleLoader, NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import {
  type Broker,
  getHubToken,
  Hub,
  type HubOptions,
  InjectHub,
  MemoryBroker,
  type PublishOptions,
  Sse,
  Stream,
  StreamError,
  StreamingModule,
  type SubscribeOptions,
  UseStreamHooks,
} from '../../lib/index.js';
import { StreamingRuntime } from '../../lib/module/streaming.runtime.js';
import { LogRecorder, PLATFORMS, type Platform } from '../support/app.js';
import { deferred } from '../support/events.js';
import { dataOf, hubOf, joined, NDJSON, publishAll, range, SSE } from '../support/hub.js';
import { IS_NEST_11_0, NEST_MAJOR } from '../support/nest.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();
const running: INestApplication[] = [];

afterEach(async () => {
  for (const app of running.splice(0)) {
    (app.getHttpServer() as Server).closeAllConnections();
    await app.close();
  }
});

type Imports = (DynamicModule | Type)[];

/** An application with the given modules, which listens. */
async function boot(
  platform: Platform,
  imports: Imports,
  rest: Partial<DynamicModule> = {},
): Promise<INestApplication> {
  const root = { module: class Root {}, imports, ...rest };
  const settings = { logger: new LogRecorder(), abortOnError: false };
  const app: INestApplication = await (platform === 'express'
    ? NestFactory.create(root, settings)
    : NestFactory.create(root, new FastifyAdapter(), settings));
  running.push(app);
  await app.listen(0, '127.0.0.1');
  return app;
}

/** The error that a function throws or rejects with. */
async function refusal(run: () => unknown): Promise<StreamError> {
  try {
    await run();
  } catch (error) {
    expect(error).toBeInstanceOf(StreamError);
    return error as StreamError;
  }
  throw new Error('It was not refused');
}

/** A broker that records its calls. */
class Noting extends MemoryBroker {
  readonly seen: string[] = [];

  override open(...args: Parameters<Broker['open']>): Promise<void> {
    this.seen.push(`open ${args[0]}`);
    return super.open(...args);
  }

  override append(...args: Parameters<Broker['append']>): ReturnType<Broker['append']> {
    this.seen.push(`append ${args[0]} ${args[1].data}`);
    return super.append(...args);
  }

  override async tail(...args: Parameters<Broker['tail']>): ReturnType<Broker['tail']> {
    const tail = await super.tail(...args);
    return {
      ...tail,
      stop: () => {
        this.seen.push(`stop ${args[0]}`);
        return tail.stop();
      },
    };
  }

  override close(): Promise<void> {
    this.seen.push('close');
    return super.close();
  }
}

const UNKNOWN = 'nowhere';
const HUBS = () => StreamingModule.registerHub({ name: 'prices' }, { name: 'orders' });

@Injectable()
class ByConstructor {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
}

@Injectable()
class ByProperty {
  @InjectHub(UNKNOWN)
  readonly hub: Hub | undefined;
}

@Injectable()
class Inherited extends ByProperty {}

@Injectable()
class ByToken {
  constructor(@Inject(getHubToken(UNKNOWN)) readonly hub: Hub) {}
}

@Injectable({ scope: Scope.REQUEST })
class PerRequest {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
}

@Controller()
class Routes {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
}

@Injectable()
class UnknownGuard implements CanActivate {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
  canActivate(): boolean {
    return true;
  }
}

@Injectable()
class UnknownInterceptor {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
  intercept(_: unknown, next: { handle(): unknown }): unknown {
    return next.handle();
  }
}

@Injectable({ scope: Scope.REQUEST })
class UnknownGuardPerRequest extends UnknownGuard {}

@Injectable()
class UnknownPipe {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
  transform(value: unknown): unknown {
    return value;
  }
}

@Catch()
class UnknownFilter implements ExceptionFilter {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
  catch(): void {
    return;
  }
}

@Injectable()
class UnknownHooks {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
  onClose(): void {
    return;
  }
}

@Injectable()
class UnknownMiddleware implements NestMiddleware {
  constructor(@InjectHub(UNKNOWN) readonly hub: Hub) {}
  use(_request: unknown, _response: unknown, next: () => void): void {
    next();
  }
}

@Module({})
class WithMiddleware implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(UnknownMiddleware).forRoutes('{*path}');
  }
}

@Controller()
class GuardedRoutes {
  @Get()
  @UseGuards(UnknownGuard)
  get(): string {
    return 'got';
  }
}

@Controller()
class PerRequestRoutes {
  @Get()
  @UseGuards(UnknownGuardPerRequest)
  get(): string {
    return 'got';
  }
}

@Controller()
class PipedRoutes {
  @Get()
  get(@Query('q', UnknownPipe) q: string): string {
    return q;
  }
}

@Controller()
class FilteredRoutes {
  @Get()
  @UseFilters(UnknownFilter)
  get(): string {
    return 'got';
  }
}

@Controller()
class InterceptedRoutes {
  @Get()
  @UseInterceptors(UnknownInterceptor as never)
  get(): string {
    return 'got';
  }
}

@Controller()
class HookedRoutes {
  @Stream()
  @UseStreamHooks(UnknownHooks)
  get(): string[] {
    return ['got'];
  }
}

/** Nest 11 creates it first for a request. */
const REQUEST_SCOPED: [string, string, Partial<DynamicModule>][] =
  NEST_MAJOR > 11 ? [['a request-scoped provider', 'PerRequest', { providers: [PerRequest] }]] : [];

/** Nest 11.0 overflows the stack where its middleware cannot be created, whatever it lacks. */
const MIDDLEWARE: [string, string, Partial<DynamicModule>][] = IS_NEST_11_0
  ? []
  : [['middleware', 'UnknownMiddleware', { imports: [StreamingModule.forRoot(), HUBS(), WithMiddleware] }]];

describe.each(PLATFORMS)('%s: an unknown hub', (platform) => {
  const factory = { provide: 'FACTORY', useFactory: (hub: Hub) => hub.name, inject: [getHubToken(UNKNOWN)] };

  it.each<[string, string, Partial<DynamicModule>]>([
    ['a constructor', 'ByConstructor', { providers: [ByConstructor] }],
    ['a property', 'ByProperty', { providers: [ByProperty] }],
    ['an inherited property', 'Inherited', { providers: [Inherited] }],
    ['its token', 'ByToken', { providers: [ByToken] }],
    ...REQUEST_SCOPED,
    ['a controller', 'Routes', { controllers: [Routes] }],
    ['a factory', 'FACTORY', { providers: [factory] }],
    ['a class that is provided by a token', 'ALIAS', { providers: [{ provide: 'ALIAS', useClass: ByConstructor }] }],
    ['a global guard', 'UnknownGuard', { providers: [{ provide: APP_GUARD, useClass: UnknownGuard }] }],
    ['a guard of a route', 'UnknownGuard', { controllers: [GuardedRoutes] }],
    ['an interceptor of a route', 'UnknownInterceptor', { controllers: [InterceptedRoutes] }],
    ['a guard of every request', 'UnknownGuardPerRequest', { controllers: [PerRequestRoutes] }],
    ['a pipe', 'UnknownPipe', { controllers: [PipedRoutes] }],
    ['an exception filter', 'UnknownFilter', { controllers: [FilteredRoutes] }],
    ['stream hooks', 'UnknownHooks', { controllers: [HookedRoutes] }],
    ...MIDDLEWARE,
  ])('that is injected into %s is named by the error of Nest at start-up', async (_where, user, root) => {
    const starting = boot(platform, [StreamingModule.forRoot(), HUBS()], root);

    await expect(starting).rejects.toThrow(
      expect.objectContaining({ message: expect.stringContaining(`"StreamingHub_${UNKNOWN}"`) }),
    );
    if (user !== 'ALIAS') {
      await expect(starting).rejects.toThrow(user);
    }
  });

  it('in a module that is loaded later makes the loading of that module fail, and the application continues', async () => {
    @Module({ providers: [ByConstructor] })
    class LateModule {}
    const app = await boot(platform, [StreamingModule.forRoot(), HUBS()]);

    const loading = app.get(LazyModuleLoader).load(() => LateModule);

    await expect(loading).rejects.toThrow(`"StreamingHub_${UNKNOWN}"`);
    expect(await hubOf({ app }, 'prices').publish(1)).toEqual(expect.any(String));
  });

  it('is injected as undefined if the parameter is optional, and a known hub is injected as usual', async () => {
    @Injectable()
    class Tolerant {
      @Optional()
      @InjectHub(UNKNOWN)
      readonly property: Hub | undefined;

      constructor(
        @Optional() @InjectHub(UNKNOWN) readonly unknown: Hub | undefined,
        @Optional() @InjectHub('prices') readonly known: Hub | undefined,
        @Inject('MADE') readonly made: unknown,
      ) {}
    }
    const made = {
      provide: 'MADE',
      useFactory: (hub?: Hub) => hub ?? 'none',
      inject: [{ token: getHubToken(UNKNOWN), optional: true }],
    };

    const app = await boot(platform, [StreamingModule.forRoot(), HUBS()], { providers: [Tolerant, made] });

    const { known, ...rest } = app.get(Tolerant);
    expect(known).toBe(hubOf({ app }, 'prices'));
    expect([rest.property, rest.unknown, rest.made]).toEqual([undefined, undefined, 'none']);
  });

  it('of another application in the process does not affect this application', async () => {
    await expect(boot(platform, [StreamingModule.forRoot()], { providers: [ByConstructor] })).rejects.toThrow(UNKNOWN);

    const app = await boot(platform, [StreamingModule.forRoot(), HUBS()]);

    expect(hubOf({ app }, 'prices').name).toBe('prices');
  });

  it('of another application is not injected', async () => {
    await boot(platform, [StreamingModule.forRoot(), StreamingModule.registerHub({ name: UNKNOWN })]);

    await expect(boot(platform, [StreamingModule.forRoot()], { providers: [ByConstructor] })).rejects.toThrow(UNKNOWN);
  });
});

describe.each(PLATFORMS)('%s: a hub that is registered twice is refused', (platform) => {
  const twice = (): DynamicModule => StreamingModule.registerHub({ name: 'twice' });
  @Module({ imports: [twice()] })
  class First {}
  @Module({ imports: [twice()] })
  class Second {}

  it.each<[string, () => Imports]>([
    ['in one call', () => [StreamingModule.registerHub({ name: 'twice' }, { name: 'once' }, { name: 'twice' })]],
    ['in two calls', () => [twice(), twice()]],
    ['in two modules', () => [First, Second]],
    ['with other options', () => [twice(), StreamingModule.registerHub({ name: 'twice', history: false })]],
  ])('%s', async (_where, imports) => {
    const { code, message } = await refusal(() => boot(platform, [StreamingModule.forRoot(), ...imports()]));

    expect(code).toBe('duplicate-hub');
    expect(message).toContain('The hub "twice" is registered twice');
  });

  it('unless one registration is imported by several modules', async () => {
    const shared = twice();
    @Module({ imports: [shared] })
    class Third {}
    @Module({ imports: [shared, First] })
    class Fourth {}
    const app = await boot(platform, [StreamingModule.forRoot(), Third]);

    expect(hubOf({ app }, 'twice')).toBeInstanceOf(Hub);
    expect((await refusal(() => boot(platform, [StreamingModule.forRoot(), Fourth]))).code).toBe('duplicate-hub');
  });
});

describe('registerHub() refuses', () => {
  it.each<[unknown, string]>([
    [{}, '"name" must be'],
    [{ name: '' }, '"name" must be 1 to 128 characters without control characters'],
    [{ name: 'x'.repeat(129) }, '"name" must be'],
    [{ name: 'a\nb' }, '"name" must be'],
    [{ name: 7 }, '"name" must be'],
    [{ name: null }, '"name" must be'],
    [undefined, 'must be an object'],
    [null, 'must be an object'],
    ['prices', 'StreamingModule.registerHub(): must be an object with name, history, all, overflow, queue, broker'],
    [['prices'], 'must be an object'],
    [{ name: 'a', historie: 5 }, 'has an unknown option "historie". Did you mean "history"? Known: '],
    [{ name: 'a', history: true }, 'must be an object with per, limit, ttl'],
    [{ name: 'a', history: 100 }, 'must be an object with per, limit, ttl'],
    [{ name: 'a', history: null }, 'must be an object with per, limit, ttl'],
    [{ name: 'a', history: { limit: 0 } }, '"history.limit" must be a whole number above 0'],
    [{ name: 'a', history: { limit: 1.5 } }, '"history.limit" must be a whole number above 0'],
    [{ name: 'a', history: { limit: Infinity } }, '"history.limit" must be a whole number above 0'],
    [{ name: 'a', history: { limit: '5' } }, '"history.limit" must be a whole number above 0'],
    [{ name: 'a', history: { ttl: 0 } }, '"history.ttl" must be a finite number above 0'],
    [{ name: 'a', history: { ttl: -1 } }, '"history.ttl" must be a finite number above 0'],
    [{ name: 'a', history: { ttl: Infinity } }, '"history.ttl" must be a finite number above 0'],
    [{ name: 'a', history: { age: 5 } }, '"history" has an unknown option "age". Known: per, limit, ttl'],
    [
      { name: 'a', overflow: 'explode' },
      '"overflow" must be one of "disconnect", "drop-oldest", "drop-newest", "latest"',
    ],
    [{ name: 'a', queue: 5 }, '"queue" must be an object with items, bytes'],
    [{ name: 'a', queue: { events: 5 } }, '"queue.events" is now called "items"'],
    [{ name: 'a', queue: { items: 0 } }, '"queue.items" must be a number above 0'],
    [{ name: 'a', queue: { bytes: '1' } }, '"queue.bytes" must be a number above 0'],
    [{ name: 'a', queue: { chunks: 1 } }, '"queue" has an unknown option "chunks"'],
    [{ name: 'a', broker: {} }, '"broker" must be a Broker, which has the methods open, append, tail, read, close'],
    [{ name: 'a', broker: 'redis' }, '"broker" must be a Broker'],
    [{ name: 'a', broker: MemoryBroker }, '"broker" must be a Broker'],
    [{ name: 'a', topic: 'x' }, 'has an unknown option "topic"'],
  ])('%j', async (options, problem) => {
    const { code, message } = await refusal(() => StreamingModule.registerHub(options as HubOptions));

    expect(code).toBe('invalid-option');
    expect(message).toContain('StreamingModule.registerHub()');
    expect(message).toContain(problem);
  });

  it('an invalid hub that is the last of several, and names that hub', async () => {
    const { message } = await refusal(() =>
      StreamingModule.registerHub({ name: 'good' }, { name: 'bad', queue: { items: -1 } }),
    );

    expect(message).toContain('"bad"');
    expect(message).not.toContain('"good"');
  });

  it('no valid options', () => {
    const all: HubOptions = {
      name: 'x'.repeat(128),
      history: { limit: 1, ttl: 0.5 },
      overflow: 'latest',
      queue: { items: Infinity, bytes: Infinity },
      broker: new MemoryBroker(),
    };

    expect(() =>
      StreamingModule.registerHub(all, { name: 'ü 👋🏽' }, { name: '__proto__', history: false }),
    ).not.toThrow();
    expect(() => StreamingModule.registerHub()).not.toThrow();
  });
});

describe.each(PLATFORMS)('%s: a hub that is registered', (platform) => {
  it('is injected in any module, wherever it is registered', async () => {
    @Module({ imports: [StreamingModule.registerHub({ name: 'prices' })] })
    class Registering {}
    @Injectable()
    class Service {
      @InjectHub('prices')
      readonly byProperty: Hub | undefined;
      constructor(@InjectHub('prices') readonly byConstructor: Hub) {}
    }
    @Controller()
    class Prices {
      constructor(
        @InjectHub('prices') readonly hub: Hub,
        @Inject('FACTORY') readonly made: Hub,
        readonly service: Service,
      ) {}
    }
    const byFactory = { provide: 'FACTORY', useFactory: (hub: Hub) => hub, inject: [getHubToken('prices')] };
    @Module({ providers: [Service, byFactory], controllers: [Prices] })
    class Using {}

    for (const imports of [
      [StreamingModule.forRoot(), Registering, Using],
      [Using, Registering, StreamingModule.forRoot()],
    ]) {
      const app = await boot(platform, imports);
      const { hub, made, service } = app.get(Prices, { strict: false });

      expect(hub).toBeInstanceOf(Hub);
      expect(hub.name).toBe('prices');
      expect([made, service.byConstructor, service.byProperty, app.get(getHubToken('prices'))]).toEqual([
        hub,
        hub,
        hub,
        hub,
      ]);
    }
  });

  it('is injected in guards, interceptors, middleware and hooks of streams', async () => {
    const seen: unknown[] = [];
    @Injectable()
    class Guard implements CanActivate {
      constructor(@InjectHub('prices') readonly hub: Hub) {}
      canActivate(): boolean {
        seen.push(this.hub);
        return true;
      }
    }
    @Injectable()
    class Hooks {
      constructor(@InjectHub('prices') readonly hub: Hub) {}
      onOpen(): void {
        seen.push(this.hub);
      }
    }
    @Controller()
    class Prices {
      @Stream('prices', { format: 'text' })
      @UseGuards(Guard)
      @UseStreamHooks(Hooks)
      prices(): string[] {
        return ['ok'];
      }
    }
    const app = await launch(platform, { imports: [HUBS()], controllers: [Prices] });

    expect(await app.text('/prices')).toBe('ok');
    expect(seen).toEqual([hubOf(app, 'prices'), hubOf(app, 'prices')]);
  });

  it('may be used before the application listens, and the first client receives its history', async () => {
    @Controller()
    class Early {
      constructor(@InjectHub('prices') readonly hub: Hub) {}

      onModuleInit(): Promise<string> {
        return this.hub.publish('early');
      }

      @Sse('prices')
      prices() {
        return this.hub.subscribe({ last: 1 });
      }
    }
    const { get } = await launch(platform, { imports: [HUBS()], controllers: [Early] });

    const client = await get('/prices');
    await client.until('data: early\n\n');

    expect(dataOf(client.body)).toEqual(['early']);
  });

  it('may be replaced in a test by its token', async () => {
    const published: unknown[] = [];
    const fake = { publish: (data: unknown) => Promise.resolve(published.push(data)) };
    @Controller()
    class Prices {
      constructor(@InjectHub('prices') readonly hub: Hub) {}

      @Post('prices')
      publish() {
        return this.hub.publish('price');
      }
    }
    const module = await Test.createTestingModule({
      imports: [StreamingModule.forRoot(), HUBS()],
      controllers: [Prices],
    })
      .overrideProvider(getHubToken('prices'))
      .useValue(fake)
      .compile();
    const app: INestApplication =
      platform === 'express' ? module.createNestApplication() : module.createNestApplication(new FastifyAdapter());
    running.push(app);
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;

    const response = await fetch(`http://127.0.0.1:${port}/prices`, { method: 'POST' });

    expect([response.status, await response.text()]).toEqual([201, '1']);
    expect(published).toEqual(['price']);
    expect(app.get(getHubToken('prices'))).toBe(fake);
    expect(app.get(getHubToken('orders'))).toBeInstanceOf(Hub);
  });

  it('by a module that is loaded later is opened at that time, and closed with the application', async () => {
    const [broker, own] = [new Noting(), new Noting()];
    @Injectable()
    class Late {
      constructor(
        @InjectHub('late') readonly late: Hub,
        @InjectHub('prices') readonly prices: Hub,
      ) {}
    }
    @Module({
      imports: [StreamingModule.registerHub({ name: 'late' }, { name: 'own', broker: own })],
      providers: [Late],
    })
    class LateModule {}
    const { app, close } = await launch(platform, { imports: [HUBS()], options: { broker } });
    expect(broker.seen).not.toContain('open late');

    const { late, prices } = (await app.get(LazyModuleLoader).load(() => LateModule)).get(Late);
    await late.publish('in time');
    await close();

    expect(prices).toBe(hubOf({ app }, 'prices'));
    expect(broker.seen).toEqual(expect.arrayContaining(['open late', 'append late in time', 'stop late', 'close']));
    expect(own.seen).toEqual(['open own', 'stop own', 'close']);
    expect((await refusal(() => late.publish('too late'))).code).toBe('hub-closed');
  });

  it('by a module that is loaded later with a name that exists makes the loading of that module fail', async () => {
    @Module({ imports: [StreamingModule.registerHub({ name: 'prices' })] })
    class LateModule {}
    const app = await boot(platform, [StreamingModule.forRoot(), HUBS()]);

    const { code } = await refusal(() => app.get(LazyModuleLoader).load(() => LateModule));

    expect(code).toBe('duplicate-hub');
  });

  it('in one application is separate from that of another in the same process', async () => {
    @Controller()
    class Prices {
      constructor(@InjectHub('prices') readonly hub: Hub) {}

      @Stream('prices', { format: 'ndjson' })
      prices() {
        return this.hub.subscribe();
      }
    }
    const setup = () => ({ imports: [HUBS()], controllers: [Prices] });
    const [one, two] = [await launch(platform, setup()), await launch(platform, setup())];
    const clients = [await one.get('/prices'), await two.get('/prices')];
    await Promise.all([joined(hubOf(one, 'prices'), 1), joined(hubOf(two, 'prices'), 1)]);

    await hubOf(one, 'prices').publish('of one');
    await hubOf(two, 'prices').publish('of two');
    await hubOf(one, 'orders').publish('an order');
    await Promise.all([one, two].map((app) => hubOf(app, 'prices').close()));
    await Promise.all(clients.map((client) => client.until('0\r\n\r\n')));

    expect(clients.map(({ body }) => body)).toEqual(['"of one"\n', '"of two"\n']);
  });

  it('stays open in one application when another is closed', async () => {
    const one = await launch(platform, { imports: [HUBS()] });
    const two = await launch(platform, { imports: [HUBS()] });

    await one.close();

    expect(await hubOf(two, 'prices').publish('still')).toEqual(expect.any(String));
    expect((await refusal(() => hubOf(one, 'prices').publish('not'))).code).toBe('hub-closed');
  });
});

describe('A hub in an application context without HTTP', () => {
  it.each<[string, Imports]>([
    ['with forRoot()', [StreamingModule.forRoot(), HUBS()]],
    ['without forRoot()', [HUBS()]],
  ])('can be injected, publishes, and is closed with the context: %s', async (_how, imports) => {
    @Injectable()
    class Worker {
      constructor(@InjectHub('prices') readonly hub: Hub) {}
    }
    const root = { module: class Root {}, imports, providers: [Worker] };
    const context = await NestFactory.createApplicationContext(root, { logger: false, abortOnError: false });
    const { hub } = context.get(Worker);
    const events = hub.subscribe()[Symbol.asyncIterator]();
    const firstEvent = events.next();

    await hub.publish('published');
    expect((await firstEvent).value?.data).toBe('published');
    await context.close();

    expect(await events.next()).toEqual({ done: true, value: undefined });
    expect((await refusal(() => hub.publish('too late'))).code).toBe('hub-closed');
  });
});

describe.each(PLATFORMS)('%s: the providers of StreamingModule', (platform) => {
  it('do not include internal objects', async () => {
    @Injectable()
    class Curious {
      constructor(@Inject(StreamingRuntime) readonly runtime: unknown) {}
    }

    await expect(boot(platform, [StreamingModule.forRoot()], { providers: [Curious] })).rejects.toThrow(
      'StreamingRuntime',
    );
  });
});

describe.each(PLATFORMS)('%s: the broker of a hub', (platform) => {
  const hubs = (): DynamicModule => StreamingModule.registerHub({ name: 'a' }, { name: 'b' });

  it.each<[string, (broker: Broker) => DynamicModule]>([
    ['forRoot()', (broker) => StreamingModule.forRoot({ broker })],
    [
      'forRootAsync()',
      (broker) => StreamingModule.forRootAsync({ useFactory: async () => turns(2).then(() => ({ broker })) }),
    ],
  ])('is that of %s, for all hubs without their own broker', async (_where, root) => {
    const [shared, own] = [new Noting(), new Noting()];
    const app = await boot(platform, [hubs(), root(shared), StreamingModule.registerHub({ name: 'c', broker: own })]);

    for (const name of ['a', 'b', 'c']) {
      await hubOf({ app }, name).publish(name);
    }

    expect([...shared.seen].sort()).toEqual(['append a a', 'append b b', 'open a', 'open b']);
    expect(own.seen).toEqual(['open c', 'append c c']);
  });

  it.each(['forRoot', 'registerHub'])(
    'that fails to open makes the start-up fail with its error: %s',
    async (where) => {
      class Failing extends Noting {
        override open(): Promise<void> {
          return Promise.reject(new Error('the store is not there'));
        }
      }
      const broker = new Failing();
      const imports =
        where === 'forRoot'
          ? [StreamingModule.forRoot({ broker }), hubs()]
          : [StreamingModule.forRoot(), StreamingModule.registerHub({ name: 'a', broker })];

      await expect(boot(platform, imports)).rejects.toThrow('the store is not there');
    },
  );

  it('that fails to tail makes the start-up fail with its error', async () => {
    const broker: Broker = Object.assign(new MemoryBroker(), {
      tail: () => Promise.reject(new Error('no tail')),
    });

    await expect(
      boot(platform, [StreamingModule.forRoot(), StreamingModule.registerHub({ name: 'a', broker })]),
    ).rejects.toThrow('no tail');
  });

  it('that opens slowly delays the start-up', async () => {
    const gate = deferred();
    class Slow extends Noting {
      override async open(...args: Parameters<Broker['open']>): Promise<void> {
        await gate.promise;
        await super.open(...args);
      }
    }
    const broker = new Slow();
    let started = false;
    const app = boot(platform, [StreamingModule.forRoot({ broker }), hubs()]).then((each) => {
      started = true;
      return each;
    });
    await turns(20);
    expect(started).toBe(false);
    gate.resolve();

    await hubOf({ app: await app }, 'a').publish(1);
    expect(broker.seen.slice(-1)).toEqual(['append a 1']);
  });

  it('that has a log already provides the history of the hub', async () => {
    const broker = new MemoryBroker();
    await broker.open('a', { limit: 10, ttl: 60_000 });
    for (const n of [1, 2, 3]) {
      await broker.append('a', { data: String(n), encoding: 'json', topic: 't' });
    }
    @Controller()
    class Prices {
      constructor(@InjectHub('a') readonly hub: Hub) {}

      @Sse('a')
      a() {
        return this.hub.subscribe({ last: 2 });
      }
    }
    const imports = [StreamingModule.registerHub({ name: 'a', broker })];
    const { get } = await launch(platform, { imports, controllers: [Prices] });

    const client = await get('/a');
    await client.until('data: 3\n\n');

    expect(dataOf(client.body)).toEqual(['2', '3']);
  });

  it('that fails to append makes only that publish() fail', async () => {
    const broker = new Noting();
    const { append } = broker;
    const imports = [StreamingModule.registerHub({ name: 'a', broker })];
    const app = await launch(platform, { imports });
    const hub = hubOf(app, 'a');
    broker.append = () => Promise.reject(new Error('the store is full'));

    await expect(hub.publish(1)).rejects.toThrow('the store is full');
    broker.append = append;

    expect(await hub.publish(2)).toEqual(expect.any(String));
  });
});

describe.each(PLATFORMS)('%s: app.close()', (platform) => {
  @Controller()
  class Feed {
    constructor(@InjectHub('a') readonly hub: Hub) {}

    @Stream('returned', { format: ['ndjson', 'sse'] })
    returned() {
      return this.hub.subscribe();
    }

    @Stream('undecided')
    undecided() {
      return this.hub.subscribe();
    }

    @Stream('iterated', { format: 'ndjson' })
    async *iterated() {
      for await (const event of this.hub.subscribe()) {
        yield event;
      }
    }

    @Stream('filtered', { format: 'ndjson' })
    filtered(@Query('topic') topic?: string) {
      return this.hub.subscribe({ topic, filter: () => true });
    }
  }

  it('closes every hub and every broker, once', async () => {
    const [shared, own] = [new Noting(), new Noting()];
    const imports = [
      StreamingModule.registerHub(
        { name: 'a' },
        { name: 'b' },
        { name: 'c', broker: own },
        { name: 'd', broker: shared },
      ),
    ];
    const app = await launch(platform, { imports, options: { broker: shared } });
    const all = ['a', 'b', 'c', 'd'].map((name) => hubOf(app, name));
    let completed = 0;
    for (const hub of all) {
      hub.presence.subscribe({ complete: () => completed++ });
    }

    await app.close();

    const closing = (broker: Noting) => broker.seen.filter((line) => /^(stop|close)/.test(line));
    expect(closing(shared).slice(0, -1).sort()).toEqual(['stop a', 'stop b', 'stop d']);
    expect(closing(shared).at(-1)).toBe('close');
    expect(closing(own)).toEqual(['stop c', 'close']);
    expect(completed).toBe(4);
    for (const hub of all) {
      expect((await refusal(() => hub.publish(1))).code).toBe('hub-closed');
      expect((await refusal(() => hub.subscribe())).code).toBe('hub-closed');
    }
  });

  it('does not close a hub again that was closed before', async () => {
    const broker = new Noting();
    const imports = [StreamingModule.registerHub({ name: 'a', broker })];
    const app = await launch(platform, { imports });
    await hubOf(app, 'a').close();

    await app.close();

    expect(broker.seen).toEqual(['open a', 'stop a', 'close']);
  });

  it('ends streams of hubs cleanly and at once, even if other streams take long', async () => {
    const gate = deferred();
    const ended: string[] = [];
    @Controller()
    class Finite {
      @Stream('finite', { format: 'text' })
      async *finite() {
        yield 'first ';
        await gate.promise;
        yield 'last';
      }
    }
    const { get, hub, close } = await (async () => {
      const app = await launch(platform, {
        imports: [StreamingModule.registerHub({ name: 'a' })],
        controllers: [Feed, Finite],
        options: {
          shutdown: { grace: 60_000, retry: false },
          hooks: { onClose: (stream, { code }) => ended.push(`${stream.route} ${code}`) },
        },
      });
      return { ...app, hub: hubOf(app, 'a') };
    })();
    const headers = { Connection: 'close' };
    const finite = await get('/finite', headers);
    await finite.until('first ');
    const clients = [
      await get('/returned', { ...headers, ...SSE }),
      await get('/returned', { ...headers, ...NDJSON }),
      await get('/filtered?topic=a', headers),
      await get('/undecided', headers),
      await get('/iterated', headers),
    ];
    await joined(hub, 5);
    await publishAll(hub, ['x'], { topic: 'a' });
    await Promise.all(clients.map((client) => client.until('x')));

    const closed = close();
    await Promise.all(clients.map((client) => client.closed()));
    expect(finite.body).toBe('first ');
    expect(hub.size()).toBe(0);
    gate.resolve();
    await closed;
    await finite.closed();

    expect(clients.map(({ complete }) => complete)).toEqual([true, true, true, true, true]);
    expect([finite.body, finite.complete]).toEqual(['first last', true]);
    expect(ended.sort()).toEqual([
      'Feed.filtered shutdown',
      'Feed.iterated completed',
      'Feed.returned shutdown',
      'Feed.returned shutdown',
      'Feed.undecided shutdown',
      'Finite.finite completed',
    ]);
  });

  it('delivers events that were published before it', async () => {
    const app = await launch(platform, {
      imports: [StreamingModule.registerHub({ name: 'a' })],
      controllers: [Feed],
      options: { shutdown: { grace: 60_000, retry: false } },
    });
    const paths = ['/returned', '/filtered', '/iterated'];
    const clients = await Promise.all(paths.map((path) => app.get(path, { ...NDJSON, Connection: 'close' })));
    await joined(hubOf(app, 'a'), 3);

    void publishAll(hubOf(app, 'a'), [1, 2, 3]);
    await app.close();
    await Promise.all(clients.map((client) => client.closed()));

    // A body that ends before its head is sent has a length, and is not chunked.
    const whole = clients.map((client) => client.complete || /\r\ncontent-length: 6\r\n/i.test(client.head));
    expect(clients.map(({ body }) => body)).toEqual(Array(3).fill('1\n2\n3\n'));
    expect(whole).toEqual([true, true, true]);
  });
});

describe.each(PLATFORMS)('%s: with invalid input,', (platform) => {
  @Controller()
  class Feed {
    constructor(@InjectHub('prices') readonly hub: Hub) {}

    @Sse('all')
    all() {
      return this.hub.subscribe();
    }

    @Sse('topic/:topic')
    topic(@Param('topic') topic: string) {
      return this.hub.subscribe({ topic });
    }

    @Sse('query')
    query(@Query('topic') topic: string | string[]) {
      return this.hub.subscribe({ topic });
    }

    @Sse('after')
    after(@Query('id') after: string) {
      return this.hub.subscribe({ after });
    }

    @Post('query')
    async publish(@Query('topic') topic: string) {
      return { id: await this.hub.publish('posted', { topic }) };
    }
  }

  async function start() {
    const app = await launch(platform, { imports: [HUBS()], controllers: [Feed] });
    return { ...app, hub: hubOf(app, 'prices') };
  }

  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;

  it.each<[string, unknown, string]>([
    ['undefined', undefined, 'undefined has no JSON form'],
    ['a function', () => 1, 'function has no JSON form'],
    ['a symbol', Symbol('s'), 'symbol has no JSON form'],
    ['a BigInt', 1n, 'BigInt'],
    ['a BigInt inside', { deep: [1n] }, 'BigInt'],
    ['a cycle', cycle, 'circular'],
    ['a value that is undefined in JSON', { toJSON: () => undefined }, 'no JSON form'],
    [
      'a value whose toJSON() throws',
      {
        toJSON: () => {
          throw new Error('not me');
        },
      },
      'not me',
    ],
    [
      'a value whose toJSON() throws a value that is not an Error',
      {
        get n() {
          throw 'a string';
        },
      },
      'a string',
    ],
  ])('publish() of %s makes only that call reject', async (_what, data, why) => {
    const { get, hub } = await start();
    const client = await get('/all');
    await client.until('id: ');

    const results = await Promise.allSettled([hub.publish('before'), hub.publish(data), hub.publish('after')]);
    await client.until('after\n\n');

    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const { code, message } = await refusal(() => hub.publish(data));
    expect(code).toBe('not-serializable');
    expect(message).toContain(why);
    expect(dataOf(client.body)).toEqual(['before', 'after']);
  });

  it.each<[string, unknown, string]>([
    ['empty', '', 'must not be empty'],
    ['of 1025 bytes', 'x'.repeat(1_025), 'at most 1024 bytes'],
    ['of 1026 bytes in 513 characters', 'ü'.repeat(513), 'at most 1024 bytes'],
    ['with a NUL', 'a\0', 'must not contain control characters'],
    ['with a line break', 'a\nb', 'must not contain control characters'],
    ['with a DEL', '\x7f', 'must not contain control characters'],
    ['with a C1 control', '\x85', 'must not contain control characters'],
    ['that is a number', 7, 'a string, not number'],
    ['that is null', null, 'a string, not null'],
    ['that is an object', { a: 1 }, 'a string, not object'],
    ['that is true', true, 'a string, not boolean'],
  ])('a topic %s is refused', async (_what, topic, why) => {
    const { get, hub } = await start();
    const client = await get('/all');
    await client.until('id: ');

    const refusals = [
      await refusal(() => hub.publish(1, { topic } as PublishOptions)),
      await refusal(() => hub.subscribe({ topic } as SubscribeOptions)),
      await refusal(() => hub.subscribe({ topic: ['good', topic] } as SubscribeOptions)),
    ];
    await hub.publish('end');
    await client.until('end\n\n');

    for (const { code, message, statusCode } of refusals) {
      expect([code, statusCode]).toEqual(['invalid-topic', 400]);
      expect(message).toContain(why);
    }
    expect(dataOf(client.body)).toEqual(['end']);
    expect(hub.size()).toBe(1);
  });

  it('an empty list of topics is refused by subscribe(), without the advice to subscribe to all topics', async () => {
    const { hub } = await start();

    const { code, message } = await refusal(() => hub.subscribe({ topic: [] }));

    expect(code).toBe('invalid-topic');
    expect(message).toBe('A subscription needs at least one topic, and its list is empty');
  });

  it('an array of topics is refused by publish()', async () => {
    const { hub } = await start();

    const { code } = await refusal(() => hub.publish(1, { topic: ['a'] } as unknown as PublishOptions));

    expect(code).toBe('invalid-topic');
  });

  it('more than 1000 topics in one subscription are refused, because each of them takes memory', async () => {
    const { hub } = await start();
    const topic = range(1, 1_001).map(String);

    const { code, message, statusCode } = await refusal(() => hub.subscribe({ topic }));
    hub.subscribe({ topic: topic.slice(1) }).close();

    expect([code, statusCode]).toEqual(['invalid-topic', 400]);
    expect(message).toBe(
      'A subscription has at most 1000 topics, not 1001: leave "topic" out, and select with "filter"',
    );
  });

  it.each(['x'.repeat(1_024), 'ü'.repeat(512), ' ', '/', '*', '#', '\u2028', 'a b', '👋🏽'])(
    'a topic may be %j',
    async (topic) => {
      const { get, hub } = await start();
      const client = await get(`/query?topic=${encodeURIComponent(topic)}`);
      await client.until('id: ');

      await hub.publish('first event', { topic });
      await client.until('first event\n\n');

      expect(hub.topics).toEqual([topic]);
    },
  );

  it.each([
    ['GET', '/topic/%00'],
    ['GET', '/topic/a%0Ab'],
    ['GET', `/query?topic=${'x'.repeat(1_025)}`],
    ['GET', '/query?topic='],
    ['GET', '/query?topic=good&topic=%07'],
    ['POST', '/query?topic=%00'],
    ['POST', `/query?topic=${'%C3%BC'.repeat(513)}`],
  ])('a client that requests an invalid topic receives a 400: %s %.30s', async (method, path) => {
    const { url, hub, registry } = await start();

    const response = await fetch(url(path), { method });

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      statusCode: 400,
      message: expect.stringContaining('A topic must '),
    });
    expect([hub.size(), registry.size]).toEqual([0, 0]);
  });

  it.each(['reset', 'lagged', 'position', 'shutdown'])(
    'the type %s is refused, because the package uses it',
    async (type) => {
      const { hub } = await start();

      const { code, message } = await refusal(() => hub.publish(1, { type }));

      expect(code).toBe('invalid-event');
      expect(message).toContain(`"${type}"`);
    },
  );

  it.each<[object, string]>([
    [{ type: 'a\nb' }, 'The type of an event is a string without CR or LF'],
    [{ type: 'a\rb' }, 'The type of an event is a string without CR or LF'],
    [{ type: 7 }, 'The type of an event'],
    [{ type: null }, 'The type of an event'],
    [{ key: 7 }, 'The key of an event is a string, not number'],
    [{ key: null }, 'The key of an event is a string'],
  ])('publish() with %j is refused', async (options, problem) => {
    const { hub } = await start();

    const { code, message } = await refusal(() => hub.publish(1, options as PublishOptions));

    expect(code).toBe('invalid-event');
    expect(message).toContain(problem);
  });

  it.each<[unknown, string]>([
    [{ topics: 'a' }, 'has an unknown option "topics". Did you mean "topic"? Known: topic, type, key'],
    [{ id: '1' }, 'has an unknown option "id"'],
    [{ once: '' }, '"once" must be 1 to 256 characters'],
    [{ once: 'x'.repeat(257) }, '"once" must be 1 to 256 characters'],
    [{ once: 7 }, '"once" must be 1 to 256 characters'],
    [null, 'must be an object with topic, type, key'],
    ['topic', 'must be an object with topic, type, key'],
    [['topic'], 'must be an object with topic, type, key'],
  ])('publish() with %j is refused with an error that names the option', async (options, problem) => {
    const { hub } = await start();

    const { code, message } = await refusal(() => hub.publish(1, options as PublishOptions));

    expect(code).toBe('invalid-option');
    expect(message).toContain(`publish() to the hub "prices": ${problem}`);
  });

  it.each<[unknown, string]>([
    [{ topics: 'a' }, 'has an unknown option "topics". Did you mean "topic"? Known: '],
    [{ last: -1 }, '"last" must be a whole number above 0'],
    [{ last: 1.5 }, '"last" must be'],
    [{ last: Number.NaN }, '"last" must be'],
    [{ last: '5' }, '"last" must be'],
    [{ filter: 'x' }, '"filter" must be a function'],
    [{ signal: {} }, '"signal" must be an AbortSignal'],
    [{ overflow: 'none' }, '"overflow" must be one of'],
    [{ queue: { events: 5 } }, '"queue.events" is now called "items"'],
    [{ queue: { items: Number.NaN } }, '"queue.items" must be a number above 0'],
    [{ queue: { size: 1 } }, '"queue" has an unknown option "size"'],
    [null, 'must be an object'],
    ['topic', 'must be an object'],
  ])('subscribe() with %j is refused with an error that names the option', async (options, problem) => {
    const { hub } = await start();

    const { code, message } = await refusal(() => hub.subscribe(options as SubscribeOptions));

    expect(code).toBe('invalid-option');
    expect(message).toContain('subscribe() to the hub "prices": ');
    expect(message).toContain(problem);
  });

  it.each([7, null, ['a', 'b'], {}])(
    'an id that is %j is refused with 400, because it comes from the client',
    async (after) => {
      const { hub } = await start();

      const { code, message, statusCode } = await refusal(() =>
        hub.subscribe({ after } as unknown as SubscribeOptions),
      );

      expect([code, statusCode]).toEqual(['invalid-id', 400]);
      expect(message).toContain('"after" is one id, not ');
    },
  );

  it('a client that sends two ids receives a 400', async () => {
    const { url } = await start();

    const response = await fetch(url('/after?id=a&id=b'));

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ message: expect.stringContaining('"after" is one id') });
  });

  it('options that are undefined count as not given', async () => {
    const { hub } = await start();
    const events = hub.subscribe({
      topic: undefined,
      after: undefined,
      last: undefined,
      filter: undefined,
      signal: undefined,
    });
    const firstEvent = events[Symbol.asyncIterator]().next();

    await hub.publish(1, { topic: undefined, type: undefined, key: undefined });

    expect((await firstEvent).value?.data).toBe(1);
    events.close();
  });
});
