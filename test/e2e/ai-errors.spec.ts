import {
  type CanActivate,
  Controller,
  Get,
  HttpException,
  NotFoundException,
  RequestMethod,
  Res,
  type Type,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { throwError } from 'rxjs';
import { AnthropicErrorFilter, chatCompletions, OpenAiErrorFilter, TextErrorFilter } from '../../lib/ai/index.js';
import { Stream, type StreamOptions } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();

/** Throws what the handler of the test throws. */
class Refusing implements CanActivate {
  static error: unknown;

  canActivate(): boolean {
    throw Refusing.error;
  }
}

type FilterClass = typeof OpenAiErrorFilter | typeof AnthropicErrorFilter | typeof TextErrorFilter;

/** A controller whose routes fail: `/answer` in its stream, `/guarded` in a guard. */
function failing(Filter: FilterClass, error: () => unknown, options: StreamOptions = {}): Type {
  @Controller()
  @UseFilters(Filter)
  class Answers {
    @Stream('answer', { method: RequestMethod.POST, format: chatCompletions, ...options })
    answer() {
      return throwError(error);
    }

    @Stream('guarded', { method: RequestMethod.POST, format: chatCompletions })
    @UseGuards(Refusing)
    guarded() {
      return [];
    }

    @Get('begun')
    begun(@Res() response: { write?: (text: string) => void; raw?: { write(text: string): void } }) {
      (response.raw ?? response).write?.('begun');
      throw error();
    }
  }
  return Answers;
}

const limited = () =>
  new HttpException({ statusCode: 429, message: 'Slow down', code: 'too_fast', param: 'messages' }, 429);
const unknown = () => new Error('a secret');

describe.each(PLATFORMS)('%s:', (platform) => {
  it.each<[string, FilterClass, () => unknown, number, string, string]>([
    [
      'OpenAiErrorFilter',
      OpenAiErrorFilter,
      limited,
      429,
      'application/json; charset=utf-8',
      '{"error":{"message":"Slow down","type":"rate_limit_error","code":"too_fast","param":"messages"}}',
    ],
    [
      'OpenAiErrorFilter',
      OpenAiErrorFilter,
      unknown,
      500,
      'application/json; charset=utf-8',
      '{"error":{"message":"Internal server error","type":"server_error","code":null,"param":null}}',
    ],
    [
      'AnthropicErrorFilter',
      AnthropicErrorFilter,
      limited,
      429,
      'application/json; charset=utf-8',
      '{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}',
    ],
    [
      'AnthropicErrorFilter',
      AnthropicErrorFilter,
      () => new HttpException('Overloaded', 529),
      529,
      'application/json; charset=utf-8',
      '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    ],
    ['TextErrorFilter', TextErrorFilter, limited, 429, 'text/plain; charset=utf-8', 'Slow down'],
    ['TextErrorFilter', TextErrorFilter, unknown, 500, 'text/plain; charset=utf-8', 'Internal server error'],
  ])('%s responds to an error before the first chunk, in the handler or in a guard', async (...row) => {
    const [, Filter, error, status, type, body] = row;
    const { url, logs } = await start(platform, { controllers: [failing(Filter, error)], providers: [Refusing] });
    Refusing.error = error();

    for (const path of ['/answer', '/guarded']) {
      const response = await fetch(url(path), { method: 'POST' });

      expect(response.status).toBe(status);
      expect(response.headers.get('content-type')).toBe(type);
      expect(await response.text()).toBe(body);
    }
    const logged = logs.of('error');
    expect(logged.filter((line) => line.includes('a secret'))).toHaveLength(error === unknown ? 2 : 0);
    expect(logged).toHaveLength(error === unknown ? 2 : 0);
  });

  it('an error filter keeps headers, such as Retry-After of a stream over its limits', async () => {
    @Controller()
    @UseFilters(OpenAiErrorFilter)
    class Answers {
      @Stream('answer', { format: chatCompletions, limits: { connections: 1, retryAfter: 7_000 } })
      async *answer() {
        yield {};
        await new Promise(() => undefined);
      }
    }
    const { url, get } = await start(platform, { controllers: [Answers] });
    const first = await get('/answer');
    await first.until('data: {}');

    // An EventSource, which other formats would refuse with 200 and a time to reconnect.
    const response = await fetch(url('/answer'), { headers: { Accept: 'text/event-stream' } });

    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(7);
    expect(await response.json()).toMatchObject({ error: { type: 'server_error' } });
  });

  it('an error filter responds to the upgrade of a WebSocket that is refused', async () => {
    @Controller()
    @UseFilters(AnthropicErrorFilter)
    class Answers {
      @Stream('answer', { format: chatCompletions })
      answer() {
        return throwError(limited);
      }
    }
    const { url } = await start(platform, { controllers: [Answers], options: { websocket: true } });

    const { status, body } = await WebSocketClient.refusal(url('/answer'));

    expect(status).toBe(429);
    expect(JSON.parse(body)).toEqual({ type: 'error', error: { type: 'rate_limit_error', message: 'Slow down' } });
  });

  it('an error filter of the application responds to requests without a route', async () => {
    const { url } = await start(platform, {
      controllers: [],
      configure: (app) => void app.useGlobalFilters(new OpenAiErrorFilter()),
    });

    const response = await fetch(url('/nothing'));

    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      error: { message: 'Cannot GET /nothing', type: 'invalid_request_error', code: null, param: null },
    });
  });

  it('an error filter ends a response whose head was sent', async () => {
    const { get } = await start(platform, { controllers: [failing(TextErrorFilter, () => new NotFoundException())] });

    const client = await get('/begun', { Connection: 'close' });
    await client.closed();

    expect(client.body).toBe('begun');
    expect(client.complete).toBe(true);
  });
});

it.each(['graphql', 'rpc', 'ws'])(
  'an error filter of the application passes on the exception of a handler of the type %s, which has no HTTP response',
  (type) => {
    const host = new ExecutionContextHost([undefined, {}, {}]);
    host.setType(type);

    for (const Filter of [OpenAiErrorFilter, AnthropicErrorFilter, TextErrorFilter]) {
      expect(() => new Filter().catch(limited(), host)).toThrow('Slow down');
    }
  },
);
