import { Controller, Get, type INestApplication, Injectable, Module, Scope, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { ConnectedStream, Sse, Stream, type StreamConnection, StreamingModule } from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';

@Controller()
class Numbers {
  @Stream('numbers')
  numbers() {
    return [1, 2];
  }
}

@Controller()
class Events {
  @Sse('events')
  events(@ConnectedStream() _stream: StreamConnection) {
    return [1, 2];
  }
}

@Controller({ scope: Scope.REQUEST })
class PerRequest {
  @Stream('scoped')
  scoped() {
    return [1, 2];
  }
}

class Base {
  @Stream('inherited')
  inherited() {
    return [1, 2];
  }
}

@Controller()
class Inherits extends Base {}

@Module({ controllers: [Numbers] })
class Feature {}

function create(platform: Platform, root: object): Promise<INestApplication> {
  const settings = { logger: false, abortOnError: false } as const;
  const module = { module: class Root {}, ...root };
  return platform === 'express'
    ? NestFactory.create(module, settings)
    : NestFactory.create(module, new FastifyAdapter(), settings);
}

const MISSING = {
  code: 'module-missing',
  message: expect.stringContaining('StreamingModule.forRoot() is not among its imports'),
};

describe.each(PLATFORMS)('%s: without StreamingModule.forRoot()', (platform) => {
  it.each<[string, { controllers?: Type[]; imports?: Type[] }]>([
    ['@Stream()', { controllers: [Numbers] }],
    ['@Sse()', { controllers: [Events] }],
    ['a request-scoped controller', { controllers: [PerRequest] }],
    ['an inherited method', { controllers: [Inherits] }],
    ['another module', { imports: [Feature] }],
  ])('an application with a stream does not start: %s', async (_what, root) => {
    const app = await create(platform, root);

    await expect(app.listen(0, '127.0.0.1')).rejects.toMatchObject(MISSING);
    await app.close();
  });

  it.each([
    ['StreamingModule itself', StreamingModule],
    [
      'a forRootAsync() whose factory returns nothing',
      StreamingModule.forRootAsync({ useFactory: () => undefined as unknown as object }),
    ],
  ])('an application that imports %s does not start', async (_what, module) => {
    await expect(create(platform, { imports: [module], controllers: [Numbers] })).rejects.toMatchObject({
      code: 'module-missing',
      message: expect.stringContaining('import StreamingModule.forRoot(), not StreamingModule.'),
    });
  });

  it('an application with a hub and a stream does not start', async () => {
    const hub = StreamingModule.registerHub({ name: 'prices' });
    const started = async () => {
      const app = await create(platform, { imports: [hub], controllers: [Numbers] });
      await app.init();
    };

    await expect(started()).rejects.toMatchObject(MISSING);
  });

  it('an application without a stream starts', async () => {
    @Controller()
    class Plain {
      @Get('plain')
      plain() {
        return 'plain';
      }
    }
    const app = await create(platform, { controllers: [Plain] });
    await app.listen(0, '127.0.0.1');

    expect(await (await fetch(`${await app.getUrl()}/plain`)).text()).toBe('plain');
    await app.close();
  });

  it('the application of a testing module does not start', async () => {
    const module = await Test.createTestingModule({ controllers: [Numbers] }).compile();
    const app =
      platform === 'express' ? module.createNestApplication() : module.createNestApplication(new FastifyAdapter());

    await expect(app.init()).rejects.toMatchObject(MISSING);
    await app.close();
  });
});

describe('StreamingModule.forRoot() without a server', () => {
  it('is not needed by a unit test that calls a method directly', async () => {
    @Injectable()
    class Doubled {
      readonly factor = 2;
    }
    @Controller()
    class Doubling {
      constructor(private readonly doubled: Doubled) {}

      @Stream('doubled')
      *of(n: number, @ConnectedStream() stream?: StreamConnection) {
        yield [n * this.doubled.factor, stream];
      }
    }
    const module = await Test.createTestingModule({ controllers: [Doubling], providers: [Doubled] }).compile();
    await module.init();

    expect([...module.get(Doubling).of(2)]).toEqual([[4, undefined]]);
    await module.close();
  });

  it('is not needed by an application context', async () => {
    const context = await NestFactory.createApplicationContext(
      { module: class Root {}, controllers: [Numbers] },
      { logger: false },
    );

    await expect(context.close()).resolves.toBeUndefined();
  });
});
