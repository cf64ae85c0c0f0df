import { execFile } from 'node:child_process';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { INestApplication, Type } from '@nestjs/common';
import { INJECTABLE_WATERMARK, MODULE_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import ts from 'typescript';
import { LogRecorder, PLATFORMS, type Platform, startApp } from '../support/app.js';
import { type Block, blocks, moduleOf, PACKAGE } from '../support/documentation.js';
import { Recorder } from '../support/events.js';
import { itWith } from '../support/tools.js';

type Exports = Record<string, unknown>;

/** Runs a block as a module: what it prints goes to `print`, what it imports to `replace` first. */
async function evaluate(block: Block, print: (line: string) => void, replace: Exports, port = 0): Promise<Exports> {
  const { outputText } = ts.transpileModule(moduleOf(block).code.replaceAll('localhost:3000', `127.0.0.1:${port}`), {
    compilerOptions: {
      module: ts.ModuleKind.CommonJS,
      target: ts.ScriptTarget.ES2022,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  });
  const imported = new Map<string, unknown>();
  for (const [, name = ''] of outputText.matchAll(/require\("(.+?)"\)/g)) {
    const own = PACKAGE[name];
    const found = (await import(own === undefined ? name : `../../${own}.js`)) as Exports;
    imported.set(name, { ...found, ...(replace[name] as Exports | undefined) });
  }
  const exported: Exports = {};
  const AsyncFunction = evaluate.constructor as FunctionConstructor;
  const run = AsyncFunction('require', 'exports', 'console', outputText) as (...args: unknown[]) => Promise<void>;
  await run((name: string) => imported.get(name), exported, {
    log: (...parts: unknown[]) => print(parts.map(String).join(' ')),
  });
  return exported;
}

interface RunningBlock {
  readonly port: number;
  readonly printed: Recorder;
  close(): Promise<void>;
}

/** A `NestFactory` for a platform, and the applications it has made. */
function factoryOf(platform: Platform) {
  const own: INestApplication[] = [];
  const create = async (module: Type): Promise<INestApplication> => {
    const settings = { logger: new LogRecorder(), abortOnError: false };
    const app: INestApplication = await (platform === 'express'
      ? NestFactory.create(module, settings)
      : NestFactory.create(module, new FastifyAdapter(), settings));
    own.push(app);
    // Not by assignment, which what NestFactory makes ignores: the examples would listen on the port they name.
    return Object.create(app, { listen: { value: () => app.listen(0, '127.0.0.1') } }) as INestApplication;
  };
  return { own, core: { '@nestjs/core': { NestFactory: { create } } } };
}

/** Starts the application a block is, that of the module it exports, or one with the controllers it exports. */
async function start(block: Block, platform: Platform): Promise<RunningBlock> {
  const printed = new Recorder();
  const { own, core } = factoryOf(platform);
  const exported = await evaluate(block, printed.add, core);
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
