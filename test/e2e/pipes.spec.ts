import {
  Controller,
  Get,
  Injectable,
  Param,
  ParseIntPipe,
  type PipeTransform,
  Query,
  Scope,
  type Type,
  UsePipes,
  ValidationPipe,
} from '@nestjs/common';
import { APP_PIPE } from '@nestjs/core';
import { Type as ToType } from 'class-transformer';
import { IsInt, Min } from 'class-validator';
import { ConnectedStream, LastEventId, Sse, Stream, type StreamConnection, StreamSignal } from '../../lib/index.js';
import { type AppSetup, PLATFORMS } from '../support/app.js';
import * as nest from '../support/nest.js';
import { useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();

/** Nest's own decorator, if this version of Nest has it. */
const SseSignal = nest.SseSignal ?? StreamSignal;

/** Copies each value, and records it. */
@Injectable()
class CopyingPipe implements PipeTransform {
  static seen: unknown[] = [];

  transform(value: unknown): unknown {
    CopyingPipe.seen.push(value);
    return typeof value === 'object' && value !== null ? { ...value } : `a copy of ${String(value)}`;
  }
}

@Injectable({ scope: Scope.REQUEST })
class CopyingPipePerRequest extends CopyingPipe {}

/** A decorator of this package, with pipes that its types do not allow. */
function withPipe(decorator: () => ParameterDecorator): ParameterDecorator {
  return (decorator as (...pipes: unknown[]) => ParameterDecorator)(CopyingPipe);
}

class Range {
  @ToType(() => Number)
  @IsInt()
  @Min(1)
  n = 0;
}

/** Sends a description of the arguments of a handler. */
function* described(stream: StreamConnection, after: string | undefined, ...signals: AbortSignal[]) {
  yield `${stream.route} ${after === stream.lastEventId && typeof after} `;
  yield signals.map((signal) => signal instanceof AbortSignal && signal === stream.signal).join();
}

@Controller()
class Plain {
  @Stream('all/:n', { format: 'text' })
  all(
    @ConnectedStream() stream: StreamConnection,
    @Param('n') _n: string,
    @LastEventId() after: string,
    @StreamSignal() signal: AbortSignal,
    @SseSignal() theirs: AbortSignal,
  ) {
    return described(stream, after, signal, theirs);
  }
}

@Controller()
@UsePipes(CopyingPipe)
class PipedClass extends Plain {
  @Stream('all/:n', { format: 'text' })
  override all(
    @ConnectedStream() stream: StreamConnection,
    @Param('n') _n: string,
    @LastEventId() after: string,
    @StreamSignal() signal: AbortSignal,
    @SseSignal() theirs: AbortSignal,
  ) {
    return described(stream, after, signal, theirs);
  }
}

@Controller()
class PipedMethod {
  @UsePipes(CopyingPipe)
  @Stream('all/:n', { format: 'text' })
  all(
    @ConnectedStream() stream: StreamConnection,
    @Param('n') _n: string,
    @LastEventId() after: string,
    @StreamSignal() signal: AbortSignal,
    @SseSignal() theirs: AbortSignal,
  ) {
    return described(stream, after, signal, theirs);
  }
}

@Controller()
class PipedParameters {
  @Stream('all/:n', { format: 'text' })
  all(
    @withPipe(ConnectedStream) stream: StreamConnection,
    @Param('n', CopyingPipe) _n: string,
    @withPipe(LastEventId) after: string,
    @withPipe(StreamSignal) signal: AbortSignal,
    @withPipe(SseSignal) theirs: AbortSignal,
  ) {
    return described(stream, after, signal, theirs);
  }
}

const validation = () => new ValidationPipe({ transform: true, validateCustomDecorators: true });

const WHERE: readonly (readonly [where: string, controller: Type, setup: AppSetup])[] = [
  ['a ValidationPipe of the application', Plain, { configure: (app) => void app.useGlobalPipes(validation()) }],
  ['a pipe of the application', Plain, { configure: (app) => void app.useGlobalPipes(new CopyingPipe()) }],
  ['a request-scoped pipe', Plain, { providers: [{ provide: APP_PIPE, useClass: CopyingPipePerRequest }] }],
  ['a pipe of the class', PipedClass, {}],
  ['a pipe of the method', PipedMethod, {}],
  ['pipes of the parameters', PipedParameters, {}],
];

beforeEach(() => {
  CopyingPipe.seen = [];
});

describe.each(PLATFORMS)('%s: with global pipes', (platform) => {
  it.each(WHERE)(
    'a handler receives the unchanged connection, signals and id: %s',
    async (_where, controller, setup) => {
      const { text } = await start(platform, { ...setup, controllers: [controller] });

      expect(await text('/all/7', { 'Last-Event-ID': 'a.1' })).toBe(`${controller.name}.all string true,true`);
    },
  );

  it.each(WHERE.slice(1))(
    'only values that the client sent go through pipes: %s',
    async (_where, controller, setup) => {
      const { text } = await start(platform, { ...setup, controllers: [controller] });

      await text('/all/7', { 'Last-Event-ID': 'a.1' });

      expect(CopyingPipe.seen).toEqual(['7']);
    },
  );

  it('a handler pushes chunks with the connection that it receives', async () => {
    @Controller()
    class Pushing {
      @Stream('pushed', { format: 'ndjson' })
      pushed(@ConnectedStream() stream: StreamConnection) {
        stream.header('X-Pushed', 'yes');
        void stream.send({ pushed: 1 });
        void stream.close();
      }
    }
    const app = await start(platform, {
      controllers: [Pushing],
      configure: (nest) => void nest.useGlobalPipes(validation()),
    });

    const response = await fetch(app.url('/pushed'));

    expect(response.headers.get('x-pushed')).toBe('yes');
    expect(await response.text()).toBe('{"pushed":1}\n');
  });

  it('the parameters of the client are validated and converted as on any route', async () => {
    @Controller()
    class Ranges {
      @Sse('range')
      *range(@StreamSignal() signal: AbortSignal, @Query() range: Range, @LastEventId() after?: string) {
        yield { data: [range instanceof Range, range.n, signal.aborted, after ?? 'none'] };
      }
    }
    const app = await start(platform, {
      controllers: [Ranges],
      configure: (nest) => void nest.useGlobalPipes(validation()),
    });

    expect(await app.text('/range?n=3')).toBe('data: [true,3,false,"none"]\n\n');
    expect((await fetch(app.url('/range?n=0'))).status).toBe(400);
  });

  it('a handler that an interceptor calls twice receives the same connection both times', async () => {
    const seen: unknown[] = [];
    @Controller()
    class Twice {
      @Stream('twice', { format: 'text' })
      twice(@ConnectedStream() stream: StreamConnection) {
        seen.push(stream);
        return ['once'];
      }
    }
    const { text } = await start(platform, {
      controllers: [Twice],
      configure: (nest) =>
        void nest.useGlobalPipes(new CopyingPipe()).useGlobalInterceptors({
          intercept: (_context, next) => {
            next.handle().subscribe();
            return next.handle();
          },
        }),
    });

    await text('/twice');

    expect(seen).toHaveLength(2);
    expect(seen[0]).toBe(seen[1]);
  });

  it.each([
    ['in its URL', '/all/7?lastEventId=a.1', []],
    ['in a subprotocol', '/all/7', ['events.v1+json', 'last-event-id.a.1']],
  ])('the last id that a WebSocket sends %s reaches the handler unchanged', async (_how, path, protocols) => {
    const app = await start(platform, {
      controllers: [Plain],
      options: { websocket: true },
      configure: (nest) => void nest.useGlobalPipes(validation(), new CopyingPipe()),
    });
    const client = await WebSocketClient.open(app.url(path), protocols);

    expect((await client.all()).join()).toContain('Plain.all string');
  });
});

describe.each(PLATFORMS)('%s: parameters of a method that a subclass overrides', (platform) => {
  class Base {
    @Stream('inherited/:n', { format: 'text' })
    inherited(@ConnectedStream() stream: StreamConnection, @Param('n', ParseIntPipe) n: number) {
      return [`${stream.route} ${n}`];
    }

    @Stream('again/:n', { format: 'text' })
    again(@ConnectedStream() stream: StreamConnection, @Param('n', ParseIntPipe) n: number) {
      return [`${stream.route} ${n}`];
    }

    @Stream('other/:n', { format: 'text' })
    other(@ConnectedStream() stream: StreamConnection, @Param('n', ParseIntPipe) n: number): unknown {
      return [`${stream.route} ${n}`];
    }

    @Stream('none/:n')
    none(@ConnectedStream() _stream: StreamConnection, @Param('n', ParseIntPipe) _n: number): unknown {
      return [];
    }
  }

  @Controller()
  class Derived extends Base {
    @Stream('again/:n', { format: 'text' })
    override again(stream: StreamConnection, n: number) {
      return [`again ${stream.route} ${n + 1}`];
    }

    @Stream('other/:n', { format: 'text' })
    override other(@Param('n') n: unknown, @StreamSignal() signal: unknown) {
      return [`${typeof n} ${signal instanceof AbortSignal}`];
    }

    @Get('none/:n')
    override none(@Query('q') _q: unknown, @Param('n') n: unknown) {
      return { n };
    }
  }

  it('are inherited, replaced, or no longer parameters of a stream', async () => {
    const { text } = await start(platform, {
      controllers: [Derived],
      configure: (nest) => void nest.useGlobalPipes(validation()),
    });

    expect(await text('/inherited/1')).toBe('Derived.inherited 1');
    expect(await text('/again/1')).toBe('again Derived.again 2');
    expect(await text('/other/1')).toBe('string true');
    expect(await text('/none/1')).toBe('{"n":"1"}');
  });
});
