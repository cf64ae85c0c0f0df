import { execFile } from 'node:child_process';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { INestApplication, ModuleMetadata, Type } from '@nestjs/common';
import { INJECTABLE_WATERMARK, MODULE_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import ts from 'typescript';
import { LogRecorder, PLATFORMS, type Platform, startApp } from '../support/app.js';
import { type Block, blocks, importedBy, moduleOf, PACKAGE } from '../support/documentation.js';
import { Recorder } from '../support/events.js';
import { itWith } from '../support/tools.js';

type Exports = Record<string, unknown>;

/** A block that was translated, with all the modules that it and the blocks that it imports import. */
interface Loaded {
  readonly block: Block;
  readonly code: string;
  readonly imports: ReadonlyMap<string, Loaded | Exports>;
}

const isLoaded = (imported: Loaded | Exports | undefined): imported is Loaded =>
  imported !== undefined && 'block' in imported && 'code' in imported;

/** Translates a block, and loads what it imports: packages, and the other files of its document. */
async function load(block: Block, port = 0, known = new Map<Block, Loaded>()): Promise<Loaded> {
  const { outputText } = ts.transpileModule(moduleOf(block, 'ESM').replaceAll('localhost:3000', `127.0.0.1:${port}`), {
    compilerOptions: {
      module: ts.ModuleKind.CommonJS,
      target: ts.ScriptTarget.ES2022,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  });
  const imports = new Map<string, Loaded | Exports>();
  const loaded = { block, code: outputText, imports };
  known.set(block, loaded);
  for (const [, name = ''] of outputText.matchAll(/require\("(.+?)"\)/g)) {
    const own = PACKAGE[name];
    const file = name.startsWith('.') ? importedBy(block, name, 'ESM') : undefined;
    imports.set(
      name,
      file
        ? (known.get(file) ?? (await load(file, port, known)))
        : ((await import(own === undefined ? name : `../../${own}.js`)) as Exports),
    );
  }
  return loaded;
}

/** Runs loaded blocks: what they print goes to `print`, and `replace` has exports of packages to replace. */
class Evaluation {
  private readonly modules = new Map<Block, Exports>();

  constructor(
    private readonly print: (line: string) => void,
    private readonly replace: Exports,
  ) {}

  /** Runs a module that may have `await` at its top level. */
  async run(loaded: Loaded): Promise<Exports> {
    const AsyncFunction = load.constructor as FunctionConstructor;
    const exported: Exports = {};
    await AsyncFunction('require', 'exports', 'console', loaded.code)(...this.scope(loaded, exported));
    return exported;
  }

  /** Runs a module without `await` at its top level, as `require()` does: once. */
  require(loaded: Loaded): Exports {
    const known = this.modules.get(loaded.block);
    const exported = known ?? {};
    if (known === undefined) {
      this.modules.set(loaded.block, exported);
      Function('require', 'exports', 'console', loaded.code)(...this.scope(loaded, exported));
    }
    return exported;
  }

  private scope({ imports }: Loaded, exported: Exports): unknown[] {
    const require = (name: string): Exports => {
      const imported = imports.get(name);
      return isLoaded(imported)
        ? this.require(imported)
        : { ...imported, ...(this.replace[name] as Exports | undefined) };
    };
    return [require, exported, { log: (...parts: unknown[]) => this.print(parts.map(String).join(' ')) }];
  }
}

/** Runs a block as a module: what it prints goes to `print`, and `replace` has exports of packages to replace. */
async function evaluate(block: Block, print: (line: string) => void, replace: Exports, port = 0): Promise<Exports> {
  return new Evaluation(print, replace).run(await load(block, port));
}

interface RunningBlock {
  readonly port: number;
  readonly printed: Recorder;
  close(): Promise<void>;
}

/** Nest's factories for a platform, the applications they have made, and `listening`: until these listen. */
function factoryOf(platform: Platform) {
  const own: INestApplication[] = [];
  const listening: Promise<void>[] = [];
  const create = async (module: Type): Promise<INestApplication> => {
    const { promise, resolve, reject } = withResolvers();
    listening.push(promise);
    const settings = { logger: new LogRecorder(), abortOnError: false };
    const app: INestApplication = await (platform === 'express'
      ? NestFactory.create(module, settings)
      : NestFactory.create(module, new FastifyAdapter(), settings)
    ).catch((error) => {
      reject(error);
      throw error;
    });
    own.push(app);
    const listen = () => app.listen(0, '127.0.0.1').then(resolve, reject);
    // Not by assignment, which what NestFactory makes ignores: the examples would listen on the port they name.
    return Object.create(app, { listen: { value: listen } }) as INestApplication;
  };
  return { own, listening, core: { '@nestjs/core': { NestFactory: { create } } } };
}

function withResolvers() {
  let resolve: () => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<void>((onResolve, onReject) => {
    [resolve, reject] = [onResolve, onReject];
  });
  promise.catch(() => undefined); // a test that creates an application need not let it listen
  return { promise, resolve, reject };
}

/** Starts the application a block is, that of the module it exports, or one with the controllers it exports. */
async function start(block: Block, platform: Platform): Promise<RunningBlock> {
  const printed = new Recorder();
  const { own, listening, core } = factoryOf(platform);
  const exported = await evaluate(block, printed.add, core);
  await Promise.all(listening);
  const classes = Object.values(exported).filter((each): each is Type => typeof each === 'function');
  const module = classes.find((each) => Reflect.hasMetadata(MODULE_METADATA.IMPORTS, each));
  if (own.length === 0 && module) {
    await (await core['@nestjs/core'].NestFactory.create(module)).listen(0);
  }
  const [app] = own;
  if (app) {
    return running(app, printed);
  }
  const started = await startApp(platform, {
    controllers: classes.filter((each) => Reflect.hasMetadata(PATH_METADATA, each)),
    providers: classes.filter((each) => Reflect.hasMetadata(INJECTABLE_WATERMARK, each)),
  });
  return running(started.app, printed);
}

function running(app: INestApplication, printed: Recorder): RunningBlock {
  const server = app.getHttpServer() as Server;
  const sockets = new Set<Socket>();
  let closing = false;
  server.on('connection', (socket) => (closing ? socket.destroy() : sockets.add(socket)));
  return {
    port: (server.address() as AddressInfo).port,
    printed,
    close: () => {
      // After an aborted request fetch() connects again, for requests to come, and Node.js waits for that connection.
      closing = true;
      for (const socket of sockets) {
        socket.destroy();
      }
      return app.close();
    },
  };
}

/** The id of a hub's event. Its middle is drawn anew with every start. */
const ID = /(?<![\w-])([\w-]{4}\.)([0-9a-f]{10})(\.[0-9a-z]+)/g;

/** What curl does in a terminal: without one it would show its progress. */
const CURL = 'curl() { command curl --silent --show-error "$@"; }';

/** What a command prints, errors last. */
function shell(command: string): Promise<string> {
  return new Promise((resolve) => {
    execFile('sh', ['-c', `${CURL}\n${command}`], (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

/** Lines as they are compared: `…` stands for any, as the middle of an id does; the wording of curl's errors changes with its version. */
function pattern(expected: string): RegExp {
  const lines = expected
    .trimEnd()
    .replaceAll(ID, '$1~$3')
    .split('\n')
    .map((line) => {
      if (line === '…') {
        return '(?:.*\\n)*?';
      }
      const [fixed = line] = /^curl: \(\d+\)/.exec(line) ?? [];
      const source = fixed.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      return fixed === line ? `${source}\\n` : `${source}.*\\n`;
    });
  return new RegExp(`^${lines.join('')}$`, 'i');
}

function expectOutput(actual: string, expected: string): void {
  const printed = actual.replaceAll('\r', '').trimEnd();
  if (!pattern(expected).test(`${printed.replaceAll(ID, '$1~$3')}\n`)) {
    expect(printed).toBe(expected.trimEnd());
  }
}

/** Compares a block with what its commands print, or else with what the client before it has, and the application's log. */
async function compare(text: string, { port, printed }: RunningBlock, client: readonly string[]): Promise<void> {
  let epoch: string | undefined;
  const [session = '', log] = text.split(/^# log\n/m);
  const steps = session.split(/^\$ /m);
  if (steps.length === 1) {
    expectOutput(client.join('\n'), session);
  }
  for (const step of steps.slice(1)) {
    const [line = '', ...output] = step.split('\n');
    const command = epoch === undefined ? line : line.replaceAll(ID, `$1${epoch}$3`);
    const actual = await shell(command.replaceAll('localhost:3000', `127.0.0.1:${port}`));
    expectOutput(actual, output.join('\n'));
    epoch = [...actual.matchAll(ID)][0]?.[2] ?? epoch;
  }
  if (log !== undefined) {
    expectOutput((await printed.count(log.trimEnd().split('\n').length)).join('\n'), log);
  }
}

/** Each runnable block with those after it that are about it. */
const sessions = blocks.flatMap((block, at) => {
  if (block.role !== 'run') {
    return [];
  }
  const rest = blocks.slice(at + 1);
  const end = rest.findIndex(
    ({ file, language, role }) => file !== block.file || !(language === 'text' || role === 'client'),
  );
  return [{ name: `${block.file}:${block.line}`, block, steps: end < 0 ? rest : rest.slice(0, end) }];
});

describe.each(PLATFORMS)('%s: what the documentation says its example prints', (platform) => {
  for (const { name, block, steps } of sessions) {
    const run = async () => {
      expect(steps.length).toBeGreaterThan(0);
      const example = await start(block, platform);
      try {
        let client: string[] = [];
        for (const step of steps) {
          if (step.role === 'client') {
            client = [];
            await evaluate(step, (line) => client.push(line), {}, example.port);
          } else {
            await compare(step.text, example, client);
          }
        }
      } finally {
        await example.close();
      }
    };
    itWith('curl')(name, run, 60_000);
  }
});

const tests = blocks.filter(({ role }) => role === 'test');

describe.each(PLATFORMS)('%s: tests in the documentation pass', (platform) => {
  it.each(tests.map((block) => [`${block.file}:${block.line}`, block] as const))(
    '%s',
    async (_, block) => {
      const { own, core } = factoryOf(platform);
      try {
        await evaluate(block, () => undefined, core);
      } finally {
        await Promise.all(own.map((app) => app.close()));
      }
    },
    60_000,
  );
});

/** `Test` of @nestjs/testing, whose applications run on a platform. */
function testingOn(platform: Platform): Exports {
  const createTestingModule = (metadata: ModuleMetadata) => {
    const builder = Test.createTestingModule(metadata);
    const compile = builder.compile.bind(builder);
    builder.compile = async (options) => {
      const module = await compile(options);
      const createNestApplication = module.createNestApplication.bind(module) as (
        ...parts: unknown[]
      ) => INestApplication;
      module.createNestApplication = ((...parts: unknown[]) =>
        platform === 'express'
          ? createNestApplication(...parts)
          : createNestApplication(new FastifyAdapter(), ...parts)) as typeof module.createNestApplication;
      return module;
    };
    return builder;
  };
  return { '@nestjs/testing': { Test: { createTestingModule } } };
}

// The files are loaded before their tests are declared, which cannot wait.
const testFiles = await Promise.all(
  blocks
    .filter(({ language, name, variant }) => language === 'ts' && name?.endsWith('.spec.ts') && variant !== 'CommonJS')
    .map((block) => load(block)),
);

describe.each(PLATFORMS)('%s: test files in the documentation pass', (platform) => {
  for (const file of testFiles) {
    describe(`${file.block.file}: ${file.block.name}`, () => {
      new Evaluation(() => undefined, testingOn(platform)).require(file);
    });
  }
});
