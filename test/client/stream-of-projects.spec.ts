import { join } from 'node:path';
import ts from 'typescript';
import { compile, errorsIn } from '../support/compile.js';
import { ROOT } from '../support/documentation.js';

// The compiler is slow on a busy machine.
import.meta.jest.setTimeout(120_000);

const SERVER = join(ROOT, 'test/client/.server');
const CLIENT = join(ROOT, 'test/client/.client');

/** The server, as `nest new` of Nest 11 (CommonJS) and of Nest 12 (ESM) compile it. */
const SERVERS = [
  ['CommonJS', 'commonjs'],
  ['ES modules', 'module'],
] as const;

const CONTROLLER = `
import { Controller, Param } from '@nestjs/common';
import { type Hub, InjectHub, LastEventId, Sse } from 'nestjs-streaming';
export interface Price { symbol: string; at: Date }
@Controller('prices')
export class Feed {
  constructor(@InjectHub('prices') private readonly prices: Hub<Price>) {}
  @Sse(':symbol') watch(@Param('symbol') topic: string, @LastEventId() after?: string) {
    return this.prices.subscribe({ topic, after });
  }
}
`;

const PAGE = `
import { connect, type StreamOf } from 'nestjs-streaming/client';
import type { Feed } from '../.server/feed.controller.js';
export async function show() {
  for await (const { data } of connect<StreamOf<typeof Feed, 'watch'>>('/prices/ACME')) {
    document.title = data.at.toUpperCase();
    // @ts-expect-error a date arrives as a string
    data.at.getTime();
  }
}
`;

/** The options of a client that a bundler builds. */
const BUNDLED: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  isolatedModules: true,
  verbatimModuleSyntax: true,
};
/** The options of a client that knows nothing of the decorators of Nest. */
const PLAIN: ts.CompilerOptions = { experimentalDecorators: false, emitDecoratorMetadata: false };

const feed = join(SERVER, 'feed.controller.ts');
const page = join(CLIENT, 'page.ts');

/** Compiles the client with the controller, or with its declaration file. */
function project(type: string, controller: Readonly<Record<string, string>>, options: ts.CompilerOptions) {
  const program = compile(
    {
      [join(SERVER, 'package.json')]: JSON.stringify({ type }),
      ...controller,
      [join(CLIENT, 'package.json')]: JSON.stringify({ type: 'module' }),
      [page]: PAGE,
    },
    options,
  );
  return {
    errors: errorsIn(program, page),
    ofServer: Object.keys(controller).flatMap((file) => errorsIn(program, file)),
    code: emittedOf(program, page),
  };
}

function emittedOf(program: ts.Program, file: string, declarations = false): string {
  let code = '';
  const write = (_name: string, text: string) => {
    code = text;
  };
  program.emit(program.getSourceFile(file), write, undefined, declarations);
  return code;
}

const EMIT = { noEmit: false, outDir: '/dist', rootDir: ROOT };

describe.each(SERVERS)('A client of a controller in %s', (_name, type) => {
  const sources = { [feed]: CONTROLLER };

  it.each([
    ['a bundler builds', { ...BUNDLED, experimentalDecorators: true }],
    ['Node.js runs', {}],
    ['Node.js runs, with verbatimModuleSyntax', { isolatedModules: true, verbatimModuleSyntax: type === 'module' }],
  ])('which %s has the types of the controller, and nothing else of it', (_what, options) => {
    const { errors, ofServer, code } = project(type, sources, { ...EMIT, ...options });

    expect([...errors, ...ofServer]).toEqual([]);
    expect(code).toMatch(/^import \{ connect \} from 'nestjs-streaming\/client';$/m);
    expect(code).not.toContain('feed.controller');
  });

  it('has the same types without experimentalDecorators, but the compiler reports the decorators of the controller', () => {
    const { errors, ofServer } = project(type, sources, { ...EMIT, ...BUNDLED, ...PLAIN });

    expect(errors).toEqual([]);
    expect(ofServer).toContainEqual(expect.objectContaining({ message: 'Decorators are not valid here.' }));
  });

  it('has the same types from the declaration file of the controller, which has no decorators', () => {
    const server = compile(
      { [join(SERVER, 'package.json')]: JSON.stringify({ type }), ...sources },
      { ...EMIT, declaration: true },
    );
    const declaration = emittedOf(server, feed, true);
    const { errors, ofServer } = project(
      type,
      { [feed.replace('.ts', '.d.ts')]: declaration },
      { ...EMIT, ...BUNDLED, ...PLAIN },
    );

    expect(declaration).toContain('class Feed');
    expect([...errors, ...ofServer]).toEqual([]);
  });
});
