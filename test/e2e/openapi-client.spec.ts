import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { createClient, type UserConfig } from '@hey-api/openapi-ts';
import { Body, Controller, Param, Post, Query, RequestMethod, VersioningType } from '@nestjs/common';
import { ApiBody, ApiProperty, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { build } from 'esbuild';
import ts from 'typescript';
import { WebSocket } from 'ws';
import type { ClientStream } from '../../lib/client/index.js';
import { patchStreams, streams } from '../../lib/hey-api/index.js';
import {
  Hub,
  HubSubscription,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { compile, errorsIn } from '../support/compile.js';
import { evaluate, start } from '../support/document-app.js';
import { blocks, ROOT } from '../support/documentation.js';
import { useApps } from '../support/running.js';

// The compiler is slow on a busy machine.
import.meta.jest.setTimeout(120_000);

class Price {
  @ApiProperty() symbol!: string;
  @ApiProperty() eur!: number;
}

class Question {
  @ApiProperty() text!: string;
  @ApiProperty({ required: false }) times?: number;
}

class Answer {
  @ApiProperty() word!: string;
}

let prices: Hub<Price>;

@Controller('prices')
class Prices {
  constructor(@InjectHub('prices') hub: Hub<Price>) {
    prices = hub;
  }

  @Sse(':symbol', { type: Price })
  watch(
    @Param('symbol') topic: string,
    @Query('last') last: string,
    @LastEventId() after?: string,
  ): HubSubscription<Price> {
    return prices.subscribe(after ? { topic, after } : { topic, last: Number(last) });
  }

  @Stream('', { format: ['ndjson', 'json'], type: [Price] })
  *all() {
    yield [{ symbol: 'ABC', eur: 1 }];
  }
}

@Controller('answers')
class Answers {
  @Stream({ format: ['json-seq', 'ndjson'], type: Answer })
  @Post()
  @ApiBody({ type: Question })
  *ask(@Body() { text, times = 1 }: Question) {
    for (let i = 0; i < times; i++) yield { word: text };
  }

  @Stream('seq', { method: RequestMethod.PUT, format: 'json-seq', type: Number })
  *numbers() {
    yield 1;
  }

  @Stream('run', { format: ['text', 'ndjson', 'sse'], onDisconnect: 'detach', type: Answer })
  *run() {
    yield { word: 'one' };
  }

  @Sse('text', { type: String })
  *text() {
    yield '5';
  }

  @Sse('dates', { type: Date })
  *dates() {
    yield new Date(0);
  }

  @Stream('untyped')
  *untyped() {
    yield { any: 1 };
  }

  @Stream('socket', { protocols: 'websocket', type: Answer })
  *socket() {
    yield { word: 'hi' };
  }

  @Stream('page', { format: 'text' })
  *page() {
    yield 'no stream of items';
  }
}

@Controller({ path: 'versions', version: '1' })
class Versions {
  @Sse({ type: Price })
  *get_all() {
    yield { symbol: 'first', eur: 1 };
  }

  @Sse('again', { type: Answer })
  *getAll() {
    yield { word: 'second' };
  }
}

@Controller({ path: 'versions', version: '2' })
class VersionsItem {
  @Sse({ type: [String] })
  *get_all() {
    yield ['third'];
  }
}

const CONTROLLERS = [Prices, Answers, Versions, VersionsItem];

/** How the functions are used. What must not compile is marked. */
const USES = `
import * as api from './index.js';
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Item<F extends (...args: never) => AsyncIterable<{ data: unknown }>> = ReturnType<F> extends AsyncIterable<{ data: infer T }> ? T : never;
export const items: [
  Same<Item<typeof api.streamPricesWatch>, api.Price>,
  Same<Item<typeof api.streamPricesAll>, api.Price[]>,
  Same<Item<typeof api.streamAnswersAsk>, api.Answer>,
  Same<Item<typeof api.streamAnswersNumbers>, number>,
  Same<Item<typeof api.streamAnswersRun>, api.Answer>,
  Same<Item<typeof api.streamAnswersText>, string>,
  Same<Item<typeof api.streamAnswersDates>, string>,
  Same<Item<typeof api.streamAnswersUntyped>, unknown>,
  Same<Item<typeof api.streamAnswersSocket>, unknown>,
] = [true, true, true, true, true, true, true, true, true];
export function use() {
  api.streamPricesWatch({ path: { symbol: 'ABC' }, query: { last: '1' }, idle: 1_000, resume: false, headers: () => ({ Authorization: 'x' }) });
  api.streamAnswersAsk({ body: { text: 'a' }, retry: { unsafe: true } });
  api.streamPricesAll();
  // @ts-expect-error the path needs a symbol
  api.streamPricesWatch({ path: {}, query: { last: '1' } });
  // @ts-expect-error the request is needed
  api.streamPricesWatch();
  // @ts-expect-error the query is missing
  api.streamPricesWatch({ path: { symbol: 'ABC' } });
  // @ts-expect-error the text of the question is missing
  api.streamAnswersAsk({ body: {} });
  // @ts-expect-error the method is that of the document
  api.streamPricesAll({ method: 'POST' });
  // @ts-expect-error this is not an option of connect()
  api.streamPricesAll({ idel: 1 });
  // @ts-expect-error this route has no body
  api.streamPricesAll({ body: 1 });
  // @ts-expect-error text is no stream of items
  api.streamAnswersPage();
}
`;

type Streams = Readonly<Record<string, (request?: object) => ClientStream>>;

/** The options of a client that a bundler builds, in a folder outside of this repository. */
const BUNDLED = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  verbatimModuleSyntax: true,
  rootDir: '/',
};
const folders: string[] = [];

afterAll(() => {
  for (const folder of folders) {
    rmSync(folder, { recursive: true });
  }
});

const launch = useApps();

async function launchAll(platform: Platform, openapi: StreamingModuleOptions['openapi']) {
  const app = await launch(platform, {
    controllers: CONTROLLERS,
    imports: [StreamingModule.registerHub({ name: 'prices' })],
    options: { openapi, websocket: true },
    configure: (nest) => {
      nest.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI });
    },
  });
  const config = new DocumentBuilder().setTitle('Prices').setVersion('1').addServer(app.url('')).build();
  const document = SwaggerModule.createDocument(app.app, config);
  return { app, input: JSON.parse(JSON.stringify(document)) as UserConfig['input'] };
}

const PATCHED = { parser: { patch: patchStreams } };

/** Generates a client into a new folder. */
async function generate({ input, ...config }: Partial<UserConfig>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'openapi-client-'));
  folders.push(folder);
  await createClient({
    plugins: ['@hey-api/typescript', '@hey-api/sdk', streams()],
    ...config,
    // openapi-ts changes the document that it receives.
    input: structuredClone(input) ?? [],
    output: join(folder, 'api'),
    logs: { level: 'silent', file: false },
  });
  return join(folder, 'api');
}

/** Compiles a module and what it imports for Node.js. Resolves to the path of the result. */
async function bundle(main: string): Promise<string> {
  const outfile = `${main}.mjs`;
  const alias = { 'nestjs-streaming/client': join(ROOT, 'lib/client/index.ts') };
  await build({ entryPoints: [main], bundle: true, format: 'esm', outfile, alias });
  return outfile;
}

async function load(folder: string): Promise<Streams> {
  return (await import(pathToFileURL(await bundle(join(folder, 'index.ts'))).href)) as Streams;
}

async function dataOf(stream: ClientStream | undefined, count = Number.POSITIVE_INFINITY): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const { data } of stream ?? []) {
    if (items.push(data) === count) {
      break;
    }
  }
  return items;
}

/** The error of openapi-ts for an error of a plugin. */
const failedWith = (message: unknown) => ({ originalError: { error: { message } } });

describe.each(['3.2', undefined] as const)('The client of a document with openapi: %s', (openapi) => {
  it('has a function for each stream, with the types of its items, path, query and body', async () => {
    const { input } = await launchAll('express', openapi);
    const folder = await generate({ input, ...PATCHED });
    const uses = join(folder, 'uses.ts');
    const program = compile({ [uses]: USES }, BUNDLED);
    expect(errorsIn(program, uses)).toEqual([]);
    expect(errorsIn(program, join(folder, 'nestjs-streaming.gen.ts'))).toEqual([]);
  });
});

describe('A generated client', () => {
  it('has a name for each function, also if versions and spellings collide', async () => {
    const { input } = await launchAll('express', '3.2');
    const api = await load(await generate({ input, ...PATCHED }));

    expect(Object.keys(api).filter((name) => name.startsWith('streamVersions'))).toEqual([
      'streamVersionsGetAllV1',
      'streamVersionsGetAllV12',
      'streamVersionsItemGetAllV2',
    ]);
  });

  it('receives texts and rows of an unknown type of a document for OpenAPI 3.1', async () => {
    const { input } = await launchAll('express', '3.1');
    const api = await load(await generate({ input, ...PATCHED }));

    expect(await dataOf(api.streamPricesAll?.())).toEqual([[{ symbol: 'ABC', eur: 1 }]]);
  });

  it('is not generated without the patch of the document', async () => {
    const { input } = await launchAll('express', '3.2');

    await expect(generate({ input })).rejects.toMatchObject(
      failedWith('The plugin nestjs-streaming needs `parser: { patch: patchStreams }`'),
    );
  });

  it('is not generated if a filter removes the type of its items', async () => {
    const { input } = await launchAll('express', '3.2');
    const filters = { operations: { include: ['GET /api/prices'] }, orphans: false };

    await expect(generate({ input, parser: { patch: patchStreams, filters } })).rejects.toMatchObject(
      failedWith(
        expect.stringContaining('(#/components/schemas/Prices_allItem) is removed: set parser.filters.orphans'),
      ),
    );
    const api = await load(
      await generate({ input, parser: { patch: patchStreams, filters: { ...filters, orphans: true } } }),
    );
    expect(Object.keys(api).filter((name) => name.startsWith('stream'))).toEqual(['streamPricesAll']);
  });
});

describe('The guide to generated clients', () => {
  it('has a configuration and a client that work as they stand', async () => {
    const guide = 'docs/openapi-client.md';
    const server = blocks.find(({ file, role }) => file === 'docs/openapi.md' && role === 'run');
    const find = (name: string) => blocks.find((each) => each.file === guide && each.name === name);
    const configuration = find('openapi-ts.config.ts');
    const usage = find('src/prices.ts');
    if (!server || !configuration || !usage) {
      throw new Error(`${guide} has changed`);
    }
    const app = await start(server, 'express');
    try {
      const exported = await evaluate(configuration, String, {}, app.port);
      const folder = await generate((await exported.default) as UserConfig);
      const code = usage.text.replaceAll('localhost:3000', `127.0.0.1:${app.port}`);
      const main = join(folder, '../prices.ts');
      writeFileSync(main, code);
      expect(errorsIn(compile({ [main]: code }, BUNDLED), main)).toEqual([]);

      const { stdout } = await promisify(execFile)(process.execPath, [await bundle(main)]);
      const expected = blocks[blocks.indexOf(usage) + 1]?.text;
      expect(stdout).toBe(expected);
    } finally {
      await app.close();
    }
  });
});

describe.each(PLATFORMS)('%s: a generated client', (platform) => {
  it('receives the items of every stream', async () => {
    const { input } = await launchAll(platform, '3.2');
    const api = await load(await generate({ input, ...PATCHED }));
    await prices.publish({ symbol: 'a/b', eur: 4 }, { topic: 'a/b' });

    const watched = api.streamPricesWatch?.({ path: { symbol: 'a/b' }, query: { last: '1' } });
    expect(await dataOf(watched, 1)).toEqual([{ symbol: 'a/b', eur: 4 }]);
    expect(await dataOf(api.streamPricesAll?.())).toEqual([[{ symbol: 'ABC', eur: 1 }]]);
    const asked = api.streamAnswersAsk?.({ body: { text: 'yes', times: 2 } });
    expect(await dataOf(asked)).toEqual([{ word: 'yes' }, { word: 'yes' }]);
    expect(await dataOf(api.streamAnswersNumbers?.())).toEqual([1]);
    expect(await dataOf(api.streamAnswersRun?.())).toEqual([{ word: 'one' }]);
    expect(await dataOf(api.streamAnswersText?.())).toEqual(['5']);
    expect(await dataOf(api.streamAnswersDates?.())).toEqual(['1970-01-01T00:00:00.000Z']);
    expect(await dataOf(api.streamAnswersUntyped?.())).toEqual([{ any: 1 }]);
    expect(await dataOf(api.streamAnswersSocket?.({ WebSocket }))).toEqual([{ word: 'hi' }]);
  });
});
