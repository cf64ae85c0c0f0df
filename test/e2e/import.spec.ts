import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { ROOT } from '../support/documentation.js';
import { InstalledApp, NEEDED } from '../support/installed.js';

const { peerDependenciesMeta, exports } = createRequire(import.meta.url)('../../package.json') as {
  peerDependenciesMeta: Record<string, { optional?: boolean }>;
  exports: Record<string, unknown>;
};
// What every application has here is a link into the repository: nothing may be written there.
const OPTIONAL = Object.keys(peerDependenciesMeta).filter((name) => !NEEDED.includes(name));
/** These run in browsers or in builds, next to what they need. */
const ELSEWHERE = ['./react', './hey-api', './package.json'];
const ENTRIES = Object.keys(exports)
  .filter((entry) => !ELSEWHERE.includes(entry) && !/\.(lua|sql)$/.test(entry))
  .map((entry) => entry.replace('.', 'nestjs-streaming'));

let app: InstalledApp;

async function output(program: string, name = 'main.mjs'): Promise<string[]> {
  await writeFile(app.path(name), program);
  return app.run(name);
}

beforeAll(async () => {
  app = await InstalledApp.create();
  for (const name of OPTIONAL) {
    const folder = app.path('node_modules', name);
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/package.json`, JSON.stringify({ name, version: '1.0.0', main: 'index.cjs' }));
    await writeFile(`${folder}/index.cjs`, `console.log(${JSON.stringify(`${name} is loaded`)});`);
  }
});

afterAll(() => app.remove());

describe('an application that has all optional packages', () => {
  it('loads none of them when it imports the package, by any entry point', async () => {
    const program = ENTRIES.map((entry) => `await import('${entry}'); console.log('${entry}');`).join('\n');
    expect(await output(program)).toEqual(ENTRIES);
  });

  it('loads none of them when it requires the CommonJS build', async () => {
    const program = "require('./node_modules/nestjs-streaming/dist/cjs/index.js'); console.log('required');";
    expect(await output(program, 'main.cjs')).toEqual(['required']);
  });

  it('loads those that it looks for when it starts', async () => {
    const said = await output(`
      import 'reflect-metadata';
      import { Module } from '@nestjs/common';
      import { NestFactory } from '@nestjs/core';
      import { StreamingModule } from 'nestjs-streaming';

      class App {}
      Module({ imports: [StreamingModule.forRoot()] })(App);
      const app = await NestFactory.create(App, { logger: false, abortOnError: false });
      console.log('created');
      await app.init().catch(() => {});
      process.exit();
    `);

    expect(said).toEqual(['created', 'nestjs-streaming-native is loaded', '@opentelemetry/api is loaded']);
  });

  it('reads few files of this package, as each takes time', async () => {
    await writeFile(
      app.path('hooks.mjs'),
      `import { appendFileSync } from 'node:fs';
      export async function load(url, context, next) {
        appendFileSync('loaded.txt', url + '\\n');
        return next(url, context);
      }`,
    );
    const files = await output(`
      import { readFileSync } from 'node:fs';
      import { register } from 'node:module';
      register('./hooks.mjs', import.meta.url);
      await import('nestjs-streaming');
      console.log(readFileSync('loaded.txt', 'utf8').match(/nestjs-streaming\\/dist\\/.*/g).join('\\n'));
    `);

    expect(files).toContain('nestjs-streaming/dist/index.js');
    expect(files.length).toBeLessThan(20);
  });
});

describe('a project that generates a client with hey-api', () => {
  it('loads the plugin, whose errors are those of the package', async () => {
    const generator = app.path('node_modules/@hey-api/openapi-ts');
    await rm(generator, { recursive: true });
    await symlink(`${ROOT}/node_modules/@hey-api/openapi-ts`, generator);
    const said = await output(`
      import { StreamError } from 'nestjs-streaming';
      import { streams } from 'nestjs-streaming/hey-api';

      try {
        streams().handler({ plugin: { context: { spec: {} } } });
      } catch (error) {
        console.log(error instanceof StreamError, error.code);
      }
    `);

    expect(said).toEqual(['true invalid-option']);
  });
});
