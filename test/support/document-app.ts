import type { Server } from 'node:http';
import { isBuiltin } from 'node:module';
import type { AddressInfo, Socket } from 'node:net';
import type { INestApplication, ModuleMetadata, Type } from '@nestjs/common';
import { INJECTABLE_WATERMARK, MODULE_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import ts from 'typescript';
import { LogRecorder, type Platform, startApp } from './app.js';
import { type Block, importedBy, moduleOf, PACKAGE } from './documentation.js';
import { Recorder } from './events.js';

export type Exports = Record<string, unknown>;

/** A translated block, with all modules that it imports, also indirectly. */
export interface Loaded {
  readonly block: Block;
  readonly code: string;
  readonly imports: ReadonlyMap<string, Loaded | Exports>;
}

const isLoaded = (imported: Loaded | Exports | undefined): imported is Loaded =>
  imported !== undefined && 'block' in imported && 'code' in imported;

/** Translates a block, and loads what it imports: packages, and the other files of its document. */
export async function load(block: Block, port = 0, known = new Map<Block, Loaded>()): Promise<Loaded> {
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

/** Whether a block imports a package, also indirectly. */
export function usesPackage({ imports }: Loaded, name: string, known = new Set<Loaded | Exports>()): boolean {
  return [...imports].some(([specifier, imported]) => {
    if (specifier === name || !isLoaded(imported) || known.has(imported)) {
      return specifier === name;
    }
    known.add(imported);
    return usesPackage(imported, name, known);
  });
}

/** The module of Node.js that a block imports and this version of Node.js lacks, such as `node:sqlite` on Node.js 20. */
export function lackingModule(block: Block, known = new Set<Block>()): string | undefined {
  known.add(block);
  for (const [, name = ''] of block.text.matchAll(/ from '(.+?)';$/gm)) {
    const file = importedBy(block, name, 'ESM');
    const lacking = file && !known.has(file) ? lackingModule(file, known) : undefined;
    if (lacking !== undefined || (name.startsWith('node:') && !isBuiltin(name))) {
      return lacking ?? name;
    }
  }
  return undefined;
}

/** Runs loaded blocks. `print` receives their output, and `replace` has exports of packages to replace. */
export class Evaluation {
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

/** Runs a block as a module. `print` receives its output, and `replace` has exports of packages to replace. */
export async function evaluate(
  block: Block,
  print: (line: string) => void,
  replace: Exports,
  port = 0,
): Promise<Exports> {
  return new Evaluation(print, replace).run(await load(block, port));
}

/** The application of a block. `port` changes with a restart. */
export interface RunningBlock {
  readonly port: number;
  readonly printed: Recorder;
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** Nest's factories for a platform, the applications that they have created, and `listening`, which waits until these listen. */
export function factoryOf(platform: Platform) {
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
    // The objects of NestFactory ignore an assignment: the examples would listen on the port that they name.
    return Object.create(app, { listen: { value: listen } }) as INestApplication;
  };
  const createApplicationContext = (module: Type) =>
    NestFactory.createApplicationContext(module, { logger: new LogRecorder(), abortOnError: false });
  const replaced = { '@nestjs/core': { NestFactory: { create, createApplicationContext } }, ...testingOn(platform) };
  return { own, listening, replaced };
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

/** Starts the application of a block. */
export async function start(block: Block, platform: Platform): Promise<RunningBlock> {
  const printed = new Recorder();
  let app = await startedBy(block, platform, printed);
  let close = closerOf(app);
  return {
    printed,
    get port() {
      return ((app.getHttpServer() as Server).address() as AddressInfo).port;
    },
    restart: async () => {
      await close();
      app = await startedBy(block, platform, printed);
      close = closerOf(app);
    },
    close: () => close(),
  };
}

/** The application that a block starts, the one of the module that it exports, or one with the controllers that it exports. */
async function startedBy(block: Block, platform: Platform, printed: Recorder): Promise<INestApplication> {
  const { own, listening, replaced } = factoryOf(platform);
  const exported = await evaluate(block, printed.add, replaced);
  await Promise.all(listening);
  const classes = Object.values(exported).filter((each): each is Type => typeof each === 'function');
  const module = classes.find((each) => Reflect.hasMetadata(MODULE_METADATA.IMPORTS, each));
  if (own.length === 0 && module) {
    await (await replaced['@nestjs/core'].NestFactory.create(module)).listen(0);
  }
  const [app] = own;
  if (app) {
    return app;
  }
  const started = await startApp(platform, {
    controllers: classes.filter((each) => Reflect.hasMetadata(PATH_METADATA, each)),
    providers: classes.filter((each) => Reflect.hasMetadata(INJECTABLE_WATERMARK, each)),
  });
  return started.app;
}

/** Closes an application, and the connections that clients have left open. */
function closerOf(app: INestApplication): () => Promise<void> {
  const sockets = new Set<Socket>();
  let closing = false;
  (app.getHttpServer() as Server).on('connection', (socket: Socket) =>
    closing ? socket.destroy() : sockets.add(socket),
  );
  return () => {
    // After an aborted request, fetch() opens a connection in advance, and Node.js waits for it.
    closing = true;
    for (const socket of sockets) {
      socket.destroy();
    }
    return app.close();
  };
}

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
