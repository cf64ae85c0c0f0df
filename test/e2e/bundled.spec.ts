import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** What an application has that installs none of the optional packages. */
const INSTALLED = [
  '@nestjs/common',
  '@nestjs/core',
  '@nestjs/platform-express',
  'negotiator',
  'reflect-metadata',
  'rxjs',
];

const PROGRAM = `
  import 'reflect-metadata';
  import { Controller, Module } from '@nestjs/common';
  import { NestFactory } from '@nestjs/core';
  import { Stream, StreamingModule } from 'nestjs-streaming';
  import { brokerContract } from 'nestjs-streaming/testing';
  import { MemoryBroker } from 'nestjs-streaming';

  class Feed { feed() { return ['a', 'stream']; } }
  const descriptor = Object.getOwnPropertyDescriptor(Feed.prototype, 'feed');
  Stream('stream', { format: 'json', type: Feed })(Feed.prototype, 'feed', descriptor);
  Object.defineProperty(Feed.prototype, 'feed', descriptor);
  Controller()(Feed);

  async function start(options) {
    class App {}
    Module({ imports: [StreamingModule.forRoot(options)], controllers: [Feed] })(App);
    const app = await NestFactory.create(App, { logger: false, abortOnError: false });
    try {
      await app.listen(0, '127.0.0.1');
      console.log(await (await fetch('http://127.0.0.1:' + app.getHttpServer().address().port + '/stream')).text());
    } finally {
      await app.close();
    }
  }

  const say = ({ code, message }) => console.log(code, message);
  start()
    .then(() => start({ websocket: true }).catch(say))
    .then(() => brokerContract({ create: () => new MemoryBroker() }).at(-1).run().catch(say));
`;

const OUTPUT = [
  '["a","stream"]',
  'module-missing StreamingModule.forRoot(): "websocket" needs the package ws: npm install ws',
  'module-missing brokerContract() needs the package fast-check: npm install --save-dev fast-check',
];

describe('an application that has none of the optional packages', () => {
  let folder = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nestjs-streaming-'));
    for (const name of INSTALLED) {
      const path = join(folder, 'node_modules', name);
      await mkdir(dirname(path), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), path);
    }
    // A copy: behind a link, it would find all that is installed here.
    for (const part of ['dist', 'package.json']) {
      await cp(join(ROOT, part), join(folder, 'node_modules/nestjs-streaming', part), { recursive: true });
    }
    await writeFile(join(folder, 'main.mjs'), PROGRAM);
  });

  afterAll(() => rm(folder, { recursive: true }));

  async function run(...args: string[]): Promise<string[]> {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: folder, timeout: 60_000 });
    expect(stderr).toBe('');
    return stdout.trimEnd().split('\n');
  }

  it('runs, and says what is missing where it is needed', async () => {
    expect(await run('main.mjs')).toEqual(OUTPUT);
  }, 60_000);

  it.each(['esm', 'cjs'])(
    'can be bundled by esbuild as %s, and then runs as before',
    async (format) => {
      const outfile = join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs');
      const options = {
        entryPoints: [join(folder, 'main.mjs')],
        outfile,
        format,
        bundle: true,
        platform: 'node',
        // Nest imports optional packages of its own.
        external: INSTALLED.filter((name) => name !== 'negotiator'),
      };
      // In a process of its own: esbuild does not run in the realm of a test.
      const script = `import { build } from 'esbuild'; await build(${JSON.stringify(options)});`;
      await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { cwd: ROOT });

      expect(await run(outfile)).toEqual(OUTPUT);
    },
    60_000,
  );
});
