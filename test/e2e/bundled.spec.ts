import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { InstalledApp, NEEDED } from '../support/installed.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PROGRAM = `
  import 'reflect-metadata';
  import { Controller, Module } from '@nestjs/common';
  import { NestFactory } from '@nestjs/core';
  import { Stream, StreamingModule } from 'nestjs-streaming';
  import { StreamingConsoleModule } from 'nestjs-streaming/console';
  import { brokerContract } from 'nestjs-streaming/testing';
  import { MemoryBroker } from 'nestjs-streaming';

  class Feed { feed() { return ['a', 'stream']; } }
  const descriptor = Object.getOwnPropertyDescriptor(Feed.prototype, 'feed');
  Stream('stream', { format: 'json', type: Feed })(Feed.prototype, 'feed', descriptor);
  Object.defineProperty(Feed.prototype, 'feed', descriptor);
  Controller()(Feed);

  async function start(options) {
    class App {}
    const imports = [StreamingModule.forRoot(options), StreamingConsoleModule.forRoot({ path: 'console', development: true })];
    Module({ imports, controllers: [Feed] })(App);
    const app = await NestFactory.create(App, { logger: false, abortOnError: false });
    try {
      await app.listen(0, '127.0.0.1');
      const ask = async (path) => (await fetch('http://127.0.0.1:' + app.getHttpServer().address().port + path)).text();
      console.log(await ask('/stream'));
      console.log((await ask('/console')).split('\\n').find((line) => line.includes('<title>')).trim());
    } finally {
      await app.close();
    }
  }

  const say = ({ code, message }) => console.log(code, message);
  start()
    .then(() => start({ websocket: true }).catch(say))
    .then(() => brokerContract({ create: () => new MemoryBroker() }).at(-1).run().catch(say));
`;

/** The same program with `require()`. */
const COMMONJS = PROGRAM.replace(/import (\{.*\}) from ('.*');/g, 'const $1 = require($2);').replace(
  /import ('.*');/g,
  'require($1);',
);

const OUTPUT = [
  '["a","stream"]',
  '<title>Streams · nestjs-streaming</title>',
  'module-missing StreamingModule.forRoot(): "websocket" needs the package ws: npm install ws',
  'module-missing The contract of a broker needs the package fast-check: npm install --save-dev fast-check',
];

describe('an application without the optional packages', () => {
  let app: InstalledApp;

  beforeAll(async () => {
    app = await InstalledApp.create();
    await writeFile(app.path('main.mjs'), PROGRAM);
    await writeFile(app.path('main.cjs'), COMMONJS);
  });

  afterAll(() => app.remove());

  it.each(['main.mjs', 'main.cjs'])(
    'runs, and names the missing package if a feature needs one: %s',
    async (main) => {
      expect(await app.run(main)).toEqual(OUTPUT);
    },
    60_000,
  );

  it.each([
    ['main.mjs', 'esm'],
    ['main.mjs', 'cjs'],
    ['main.cjs', 'cjs'],
  ])(
    'can be bundled by esbuild, and then runs as before: %s as %s',
    async (main, format) => {
      const outfile = app.path(format === 'esm' ? 'bundle.mjs' : 'bundle.cjs');
      const options = {
        entryPoints: [app.path(main)],
        outfile,
        format,
        bundle: true,
        platform: 'node',
        // Nest itself imports optional packages.
        external: NEEDED,
      };
      // In a separate process, because esbuild does not run in the realm of a test.
      const script = `import { build } from 'esbuild'; await build(${JSON.stringify(options)});`;
      await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { cwd: ROOT });

      expect(await app.run(outfile)).toEqual(OUTPUT);
    },
    60_000,
  );
});
