import {
  Body,
  Controller,
  Get,
  HttpCode,
  type INestApplication,
  Module,
  Param,
  Post,
  Query,
  RequestMethod,
  VersioningType,
} from '@nestjs/common';
import {
  ApiExcludeEndpoint,
  ApiHeader,
  ApiNoContentResponse,
  ApiNotAcceptableResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiSchema,
  ApiServiceUnavailableResponse,
  DocumentBuilder,
  type OpenAPIObject,
  SwaggerModule,
} from '@nestjs/swagger';
import { Test } from '@nestjs/testing';
import { Validator } from '@seriousme/openapi-schema-validator';
import {
  defineFormat,
  Hub,
  HubSubscription,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  StreamError,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS } from '../support/app.js';
import { useApps } from '../support/running.js';

class Price {
  @ApiProperty() symbol!: string;
  @ApiProperty() eur!: number;
}

@ApiSchema({ name: 'Hint' })
class Renamed {
  @ApiProperty() text!: string;
}

class Asked {
  @ApiProperty() after!: string;
}

const csv = defineFormat({ name: 'csv', mediaTypes: ['text/csv'], encode: (row) => `${String(row)}\n` });

@Controller('feed')
class Feed {
  @Sse('prices/:symbol', { type: Price })
  prices(@Param('symbol') _symbol: string, @LastEventId() _after?: string) {
    return [];
  }

  @Stream('any', { type: Price })
  any() {
    return [];
  }

  @Stream('untyped')
  untyped() {
    return [];
  }

  @Stream('two', { type: [Price], format: ['ndjson', 'json'], limits: { connections: 1 } })
  two() {
    return [];
  }

  @Stream('one', { type: () => Renamed, format: 'jsonl', limits: { perClient: 1 } })
  one(@Query('page') _page: number) {
    return [];
  }

  @Sse('texts', { type: String })
  texts() {
    return [];
  }

  @Stream('bytes', { format: [csv, 'bytes', 'text'], type: Price })
  bytes() {
    return [];
  }

  @Stream('made', { method: RequestMethod.POST, format: 'text' })
  made(@Body() _query: Asked) {
    return [];
  }

  @Post('accepted')
  @HttpCode(202)
  @Stream({ format: 'text' })
  accepted() {
    return [];
  }
}

const CONFIG = new DocumentBuilder().setTitle('Streams').setVersion('1');

const ERROR = { statusCode: { type: 'integer' }, message: { type: 'string' }, error: { type: 'string' } };
const PRICE = { $ref: '#/components/schemas/Price' };
const STRING = { type: 'string' };
const eventOf = (data: object) => ({
  type: 'object',
  required: ['data'],
  properties: {
    data,
    event: { type: 'string' },
    id: { type: 'string' },
    retry: { type: 'integer', minimum: 0 },
  },
});
const PRICE_EVENT = eventOf({ type: 'string', contentMediaType: 'application/json', contentSchema: PRICE });
const RETRY_AFTER = {
  'Retry-After': {
    description: 'The number of seconds after which to try again',
    schema: { type: 'integer', minimum: 1 },
  },
};

type Operation = {
  readonly parameters: { readonly name: string; readonly in: string }[];
  readonly responses: Record<
    string,
    { readonly description: string; readonly headers?: object; readonly content?: Record<string, object> }
  >;
};

function operation(document: OpenAPIObject, path: string, method: 'get' | 'post' = 'get'): Operation {
  const found = document.paths[path]?.[method];
  if (!found) {
    throw new Error(`${path} is not among ${Object.keys(document.paths).join(', ')}`);
  }
  return found as unknown as Operation;
}

const content = (document: OpenAPIObject, path: string) => operation(document, path).responses['200']?.content;
const statuses = (document: OpenAPIObject, path: string) => Object.keys(operation(document, path).responses);

/** The errors that a strict validator finds in a document. */
async function validate(document: OpenAPIObject): Promise<unknown> {
  const { valid, errors } = await new Validator().validate(JSON.parse(JSON.stringify(document)));
  return valid ? 'valid' : errors;
}

describe.each(PLATFORMS)('%s: the OpenAPI document', (platform) => {
  const start = useApps();

  /** As in a main.ts, after the application is created and before it listens. */
  async function documentOf(setup: AppSetup, config: Omit<OpenAPIObject, 'paths'> = CONFIG.build()) {
    let document: OpenAPIObject | undefined;
    const configure = async (app: INestApplication) => {
      await setup.configure?.(app);
      document = SwaggerModule.createDocument(app, config);
    };
    await start(platform, { ...setup, configure });
    if (!document) {
      throw new Error('No document');
    }
    return document;
  }

  describe('of a controller with streams', () => {
    let document: OpenAPIObject;
    beforeEach(async () => {
      document = await documentOf({ controllers: [Feed] });
    });

    it('shows an event of @Sse(), and its items', () => {
      expect(operation(document, '/feed/prices/{symbol}').responses['200']).toEqual({
        description: 'A stream',
        content: { 'text/event-stream': { schema: STRING, itemSchema: PRICE_EVENT } },
      });
      expect(document.components?.schemas?.Price).toMatchObject({ properties: { eur: { type: 'number' } } });
    });

    it('lists every media type of a route that supports all formats', () => {
      const sequence = { schema: STRING, itemSchema: PRICE };
      expect(operation(document, '/feed/any').responses['200']).toEqual({
        description: 'A stream, in the format the `Accept` header asks for',
        content: {
          'application/x-ndjson': sequence,
          'application/jsonl': sequence,
          'application/stream+json': sequence,
          'application/ndjson': sequence,
          'text/plain': { schema: STRING },
          'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
          'text/event-stream': { schema: STRING, itemSchema: PRICE_EVENT },
          'application/json': { schema: { type: 'array', items: PRICE } },
          'application/json-seq': sequence,
        },
      });
    });

    it('lists only the media types if no type is given', () => {
      expect(content(document, '/feed/untyped')).toMatchObject({
        'application/x-ndjson': { schema: STRING },
        'text/event-stream': { schema: STRING },
        'application/json': { schema: { type: 'array', items: {} } },
      });
      expect(JSON.stringify(content(document, '/feed/untyped'))).not.toContain('itemSchema');
    });

    it('lists the media types of the formats of the route in their order, with items that are arrays', () => {
      const prices = { type: 'array', items: PRICE };
      const entries = content(document, '/feed/two') ?? {};
      expect(Object.keys(entries)).toEqual([
        'application/x-ndjson',
        'application/jsonl',
        'application/stream+json',
        'application/ndjson',
        'application/json',
      ]);
      expect(entries['application/json']).toEqual({ schema: { type: 'array', items: prices } });
      expect(entries['application/jsonl']).toEqual({ schema: STRING, itemSchema: prices });
    });

    it('lists one media type for a single format, which is always sent', () => {
      expect(content(document, '/feed/one')).toEqual({
        'application/jsonl': { schema: STRING, itemSchema: { $ref: '#/components/schemas/Hint' } },
      });
      expect(document.components?.schemas).toHaveProperty('Hint');
    });

    it('describes strings in events as strings', () => {
      expect(content(document, '/feed/texts')).toEqual({
        'text/event-stream': {
          schema: STRING,
          itemSchema: eventOf({ ...STRING, contentMediaType: 'text/plain' }),
        },
      });
    });

    it('describes a user-defined format as text, without items', () => {
      expect(content(document, '/feed/bytes')).toEqual({
        'text/csv': { schema: STRING },
        'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
        'text/plain': { schema: STRING },
      });
    });

    it('has the status that Nest sends', () => {
      expect(Object.keys(operation(document, '/feed/made', 'post').responses)).toEqual(['201', '503']);
      expect(Object.keys(operation(document, '/feed/accepted', 'post').responses)).toEqual(['202', '503']);
    });

    it('has 406 if the client chooses the format, 429 and 503 if there are limits, and 503 for the shutdown', () => {
      expect(statuses(document, '/feed/any')).toEqual(['200', '406', '503']);
      expect(statuses(document, '/feed/two')).toEqual(['200', '406', '503']);
      expect(statuses(document, '/feed/one')).toEqual(['200', '429', '503']);
      const { responses } = operation(document, '/feed/two');
      expect(responses['406']).toEqual({
        description: 'The `Accept` header names no format of the stream',
        content: {
          'application/json': {
            schema: {
              type: 'object',
              required: ['statusCode', 'message', 'acceptable'],
              properties: {
                ...ERROR,
                statusCode: { type: 'integer', enum: [406] },
                acceptable: { type: 'array', items: STRING },
              },
            },
          },
        },
      });
      expect(responses['503']).toMatchObject({
        description: 'All streams are in use, or the server is shutting down',
        headers: RETRY_AFTER,
      });
      expect(operation(document, '/feed/one').responses['429']).toMatchObject({
        description: 'The client has too many streams open',
        headers: RETRY_AFTER,
      });
      expect(operation(document, '/feed/one').responses['503']?.description).toBe('The server is shutting down');
    });

    it('has the header Last-Event-ID if the method injects it', () => {
      const { parameters } = operation(document, '/feed/prices/{symbol}');
      expect(parameters).toEqual([
        { name: 'symbol', in: 'path', required: true, schema: STRING },
        {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'The id of the last event that the client received: the stream continues after it',
          required: false,
          schema: STRING,
        },
      ]);
      expect(operation(document, '/feed/any').parameters).toEqual([]);
      expect(operation(document, '/feed/one').parameters).toMatchObject([{ name: 'page', in: 'query' }]);
    });
  });

  it('says that a method that returns a subscription of a hub can be polled', async () => {
    @Controller('hub')
    class Watched {
      constructor(@InjectHub('prices') private readonly hub: Hub<Price>) {}

      @Stream('prices', { format: 'ndjson', type: Price })
      prices(@LastEventId() after?: string): HubSubscription<Price> {
        return this.hub.subscribe({ after });
      }
    }
    const imports = [StreamingModule.registerHub({ name: 'prices' })];
    const document = await documentOf({ controllers: [Watched], imports });
    const { parameters, responses } = operation(document, '/hub/prices');
    expect(parameters).toMatchObject([
      { name: 'Prefer', in: 'header', required: false },
      { name: 'Last-Event-ID', in: 'header', required: false },
    ]);
    expect(Object.keys(responses)).toEqual(['200', '204', '503']);
    expect(responses['204']).toEqual({
      description: 'With `Prefer: wait=N`: there was no event in this time',
      headers: { 'Last-Event-ID': { description: 'The id after which the next poll continues', schema: STRING } },
    });
    expect(await validate({ ...document, openapi: '3.2.0' })).toBe('valid');
  });

  it.each([
    ['3.0', '3.0.4'],
    ['3.1', '3.1.1'],
    ['3.2', '3.2.0'],
    [undefined, '3.2.0'],
  ] as const)('for version %s is valid as %s', async (openapi, version) => {
    const document = await documentOf(
      { controllers: [Feed], options: { openapi, limits: { connections: 9, perClient: 3 } } },
      CONFIG.build(),
    );
    expect(await validate({ ...document, openapi: version })).toBe('valid');
  });

  it('without types is valid as every version', async () => {
    @Controller('plain')
    class Plain {
      @Stream('any')
      any(@LastEventId() _after?: string) {
        return [];
      }

      @Sse('events')
      events() {
        return [];
      }
    }
    const document = await documentOf({ controllers: [Plain] });
    for (const openapi of ['3.0.4', '3.1.1', '3.2.0']) {
      expect(await validate({ ...document, openapi })).toBe('valid');
    }
  });

  it('has only items for 3.2, and only the schema of the whole body for 3.0 and 3.1', async () => {
    const setup = (openapi: StreamingModuleOptions['openapi']) => ({ controllers: [Feed], options: { openapi } });
    const newest = await documentOf(setup('3.2'));
    expect(content(newest, '/feed/any')).toMatchObject({
      'application/jsonl': { itemSchema: PRICE },
      'text/event-stream': { itemSchema: PRICE_EVENT },
      'application/json': { schema: { type: 'array', items: PRICE } },
    });
    expect(content(newest, '/feed/any')?.['application/jsonl']).not.toHaveProperty('schema');
    expect(content(newest, '/feed/untyped')).toMatchObject({
      'application/jsonl': {},
      'text/event-stream': { itemSchema: eventOf(STRING) },
    });
    for (const older of ['3.0', '3.1'] as const) {
      const document = await documentOf(setup(older));
      expect(content(document, '/feed/any')?.['application/jsonl']).toEqual({ schema: STRING });
      expect(content(document, '/feed/any')?.['text/event-stream']).toEqual({ schema: STRING });
    }
  });

  it('describes streams as Nest does with openapi: false', async () => {
    const document = await documentOf({ controllers: [Feed], options: { openapi: false } });
    expect(operation(document, '/feed/any').responses).toEqual({ 200: { description: '' } });
  });

  it('uses formats and limits of the application', async () => {
    const options: StreamingModuleOptions = { format: ['text', 'sse'], limits: { connections: 5, perClient: 1 } };
    const document = await documentOf({ controllers: [Feed], options });
    expect(Object.keys(content(document, '/feed/untyped') ?? {}).sort()).toEqual(['text/event-stream', 'text/plain']);
    expect(statuses(document, '/feed/untyped')).toEqual(['200', '406', '429', '503']);
  });

  it('keeps the descriptions of your own decorators', async () => {
    @Controller('own')
    @ApiServiceUnavailableResponse({ description: 'Closed on Sundays' })
    class Own {
      @ApiOkResponse({ type: Renamed, description: 'Mine' })
      @ApiNotAcceptableResponse({ description: 'Not this way' })
      @ApiHeader({ name: 'last-event-id', description: 'Where you were' })
      @ApiOperation({ summary: 'All of it' })
      @Stream('all', { type: Price })
      all(@LastEventId() _after?: string) {
        return [];
      }

      @Stream('described', { format: 'ndjson', type: Price })
      @ApiOkResponse({ description: 'The day in prices' })
      described() {
        return [];
      }

      @Stream('empty', { format: 'text' })
      @ApiNoContentResponse({ description: 'Nothing today', content: {} })
      empty() {
        return [];
      }

      @Stream('hidden')
      @ApiExcludeEndpoint()
      hidden() {
        return [];
      }

      @Get('plain')
      plain(): string {
        return 'no stream';
      }
    }
    const document = await documentOf({ controllers: [Own] });
    expect(operation(document, '/own/all')).toMatchObject({
      summary: 'All of it',
      parameters: [{ name: 'last-event-id', description: 'Where you were' }],
      responses: {
        200: {
          description: 'Mine',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Hint' } } },
        },
        406: { description: 'Not this way' },
        503: { description: 'Closed on Sundays' },
      },
    });
    expect(document.components?.schemas).toHaveProperty('Price');
    expect(operation(document, '/own/described').responses['200']).toEqual({
      description: 'The day in prices',
      content: { 'application/x-ndjson': { schema: STRING, itemSchema: PRICE } },
    });
    expect(statuses(document, '/own/empty')).toEqual(['204', '503']);
    expect(document.paths).not.toHaveProperty('/own/hidden');
    expect(Object.keys(operation(document, '/own/plain').responses)).toEqual(['200', '503']);
  });

  it('describes the stream also if your decorators describe an empty response', async () => {
    @Controller('own')
    class Own {
      @Stream('polled', { format: 'text' })
      @ApiNoContentResponse({ description: 'Nothing new' })
      polled() {
        return [];
      }
    }
    const { responses } = operation(await documentOf({ controllers: [Own] }), '/own/polled');
    expect(responses['200']).toEqual({ description: 'A stream', content: { 'text/plain': { schema: STRING } } });
    expect(responses['204']).toEqual({ description: 'Nothing new' });
  });

  it('describes how to join the runs of a route with onDisconnect', async () => {
    @Controller()
    class Answers {
      @Post('answers')
      @HttpCode(200)
      @Stream({ format: 'ndjson', onDisconnect: 'detach' })
      answer() {
        return [];
      }
    }
    const { parameters, responses } = operation(await documentOf({ controllers: [Answers] }), '/answers', 'post');

    expect(parameters).toMatchObject([{ name: 'Last-Event-ID', in: 'header', required: false }]);
    expect(Object.keys(responses)).toEqual(['200', '204', '503']);
    expect(responses['200']?.headers).toEqual({
      'Content-Location': {
        description: 'A URL at which the run can be joined from its start, with the same method',
        schema: { type: 'string', format: 'uri-reference' },
      },
    });
    expect(responses['204']).toEqual({
      description: 'There is no run with this `Last-Event-ID`, or it is over, and the client has received all of it',
    });
  });

  it('describes the responses over HTTP of a stream for WebSockets only', async () => {
    @Controller('sockets')
    class Sockets {
      @Stream('alone', { protocols: 'websocket', type: Price })
      alone() {
        return [];
      }

      @Stream('both', { protocols: ['http', 'websocket'], format: 'text' })
      both() {
        return [];
      }
    }
    const document = await documentOf({ controllers: [Sockets], options: { websocket: true } });
    expect(statuses(document, '/sockets/alone')).toEqual(['101', '426', '503']);
    expect(operation(document, '/sockets/alone').responses['101']).toEqual({
      description: 'A WebSocket, whose messages are the chunks',
    });
    expect(statuses(document, '/sockets/both')).toEqual(['200', '503']);
    expect(await validate({ ...document, openapi: '3.2.0' })).toBe('valid');
  });

  it('keeps the description of a class', async () => {
    @Controller('own')
    @ApiOkResponse({ description: 'As all here' })
    class Own {
      @Stream('text', { format: 'text' })
      text() {
        return [];
      }
    }
    const document = await documentOf({ controllers: [Own] });
    expect(operation(document, '/own/text').responses['200']).toEqual({
      description: 'As all here',
      content: { 'text/plain': { schema: STRING } },
    });
  });

  it('follows versions, prefixes, several paths and inherited methods', async () => {
    class Base {
      @Stream(['a', 'b'], { format: 'text' })
      inherited() {
        return [];
      }
    }
    @Controller({ path: 'first', version: ['1', '2'] })
    class First extends Base {}
    @Controller({ path: 'second', version: '1' })
    class Second extends Base {}
    const document = await documentOf({
      controllers: [First, Second],
      configure: (app) => void app.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI }),
    });
    expect(Object.keys(document.paths).sort()).toEqual([
      '/api/v1/first/a',
      '/api/v1/first/b',
      '/api/v1/second/a',
      '/api/v1/second/b',
      '/api/v2/first/a',
      '/api/v2/first/b',
    ]);
    for (const path of Object.keys(document.paths)) {
      expect(content(document, path)).toEqual({ 'text/plain': { schema: STRING } });
      expect(statuses(document, path)).toEqual(['200', '503']);
    }
  });

  it('has the options of its application, also if a method is in several applications', async () => {
    class Base {
      @Sse('inherited')
      inherited(@LastEventId() _after?: string) {
        return [];
      }
    }
    @Controller('first')
    class First extends Base {}
    @Controller('second')
    class Second extends Base {}
    const controllers = [First, Second];
    for (const path of ['/first/inherited', '/second/inherited']) {
      const limited = await documentOf({ controllers, options: { limits: { perClient: 1 } } });
      expect(statuses(limited, path)).toEqual(['200', '429', '503']);
      const free = await documentOf({ controllers });
      expect(statuses(free, path)).toEqual(['200', '503']);
      expect(operation(free, path).parameters).toHaveLength(1);
    }
  });

  it('is the same for every application of a controller', async () => {
    const limited = await documentOf({
      controllers: [Feed],
      options: { format: 'text', limits: { perClient: 1 }, openapi: '3.0' },
    });
    expect(statuses(limited, '/feed/untyped')).toEqual(['200', '429', '503']);
    const free = await documentOf({ controllers: [Feed] });
    expect(statuses(free, '/feed/untyped')).toEqual(['200', '406', '503']);
    expect(operation(free, '/feed/prices/{symbol}').parameters).toHaveLength(2);
    const silent = await documentOf({ controllers: [Feed], options: { openapi: false } });
    expect(statuses(silent, '/feed/untyped')).toEqual(['200']);
  });

  it('is served, and the streams respond as it says', async () => {
    const app = await start(platform, {
      controllers: [Feed],
      configure: (nest) =>
        SwaggerModule.setup('api', nest, () => SwaggerModule.createDocument(nest, CONFIG.build()), { ui: false }),
    });
    const document = JSON.parse(await app.text('/api-json')) as OpenAPIObject;
    for (const mediaType of Object.keys(content(document, '/feed/any') ?? {})) {
      const response = await fetch(app.url('/feed/any'), { headers: { Accept: mediaType } });
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')?.split(';')[0]).toBe(mediaType);
      await response.text();
    }
    const refused = await fetch(app.url('/feed/any'), { headers: { Accept: 'image/png' } });
    expect(refused.status).toBe(406);
    expect(Object.keys((await refused.json()) as object).sort()).toEqual([
      'acceptable',
      'error',
      'message',
      'statusCode',
    ]);
  });
});

describe('the OpenAPI document', () => {
  it('can be created for a testing module that does not listen', async () => {
    @Module({ imports: [StreamingModule.forRoot()], controllers: [Feed] })
    class AppModule {}
    const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
    const app = testing.createNestApplication();
    const document = SwaggerModule.createDocument(app, CONFIG.build());
    expect(content(document, '/feed/prices/{symbol}')).toHaveProperty('text/event-stream');
    await app.close();
  });

  const start = useApps();

  it.each([
    ['a string', 'Price'],
    ['two classes', [Price, Renamed]],
    ['no class', []],
  ])('refuses %s as a type', async (_, type) => {
    @Controller()
    class Wrong {
      @Stream('wrong', { type: type as never })
      wrong() {
        return [];
      }
    }
    const error: unknown = await start('express', { controllers: [Wrong] }).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(StreamError);
    expect(error).toMatchObject({
      code: 'invalid-option',
      message:
        '@Stream() of Wrong.wrong: "type" must be a class, an array of one, or a function that returns one of them',
    });
  });

  it('refuses an unknown version', async () => {
    await expect(start('express', { options: { openapi: '2.0' as never } })).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringContaining('StreamingModule.forRoot(): "openapi" must be one of "3.0", "3.1", "3.2"'),
    });
  });
});
