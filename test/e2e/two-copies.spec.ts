import { writeFile } from 'node:fs/promises';
import { InstalledApp } from '../support/installed.js';

/** Three copies: two that are installed, and the CommonJS build of the first, which is required by its path. */
const PRELUDE = `
  import 'reflect-metadata';
  import { createRequire } from 'node:module';
  import { Controller, Module } from '@nestjs/common';
  import { NestFactory } from '@nestjs/core';
  import * as one from 'nestjs-streaming';
  import * as oneConsole from 'nestjs-streaming/console';
  import * as oneKit from 'nestjs-streaming/testing';
  import * as two from 'second-copy';

  const commonJs = createRequire(import.meta.url)('./node_modules/nestjs-streaming/dist/cjs/index.js');

  function feed({ Stream }, ...decorators) {
    class Feed { *feed() { yield 1; } }
    const descriptor = Object.getOwnPropertyDescriptor(Feed.prototype, 'feed');
    for (const decorate of [Stream('stream'), ...decorators]) decorate(Feed.prototype, 'feed', descriptor);
    Object.defineProperty(Feed.prototype, 'feed', descriptor);
    Controller()(Feed);
    return Feed;
  }

  async function started(root) {
    class App {}
    Module(root)(App);
    const app = await NestFactory.create(App, { logger: false, abortOnError: false });
    await app.listen(0, '127.0.0.1');
    return app;
  }

  const say = ({ code, message }) => console.log(code, message);
  const refused = (root) => started(root).then((app) => app.close(), say).then(() => process.exit());
  const streamed = async (app) =>
    console.log(await (await fetch('http://127.0.0.1:' + app.getHttpServer().address().port + '/stream')).text());
`;

const ESM = 'nestjs-streaming/dist/shared/';
const COMMONJS = 'nestjs-streaming/dist/cjs/shared/';
const SECOND = 'second-copy/dist/shared/';

let app: InstalledApp;

async function output(program: string): Promise<string[]> {
  await writeFile(app.path('main.mjs'), PRELUDE + program);
  return app.run('main.mjs');
}

beforeAll(async () => {
  app = await InstalledApp.create(['nestjs-streaming', 'second-copy']);
});

afterAll(() => app.remove());

describe('an application that uses two copies of the package', () => {
  it.each([
    [
      'its streams and its module are of different copies',
      `{ imports: [two.StreamingModule.forRoot()], controllers: [feed(one)] }`,
      ['@Stream() or @Sse()', ESM, 'StreamingModule.forRoot()', SECOND],
    ],
    [
      'its streams are of the CommonJS build and its module of the ESM build',
      `{ imports: [one.StreamingModule.forRoot()], controllers: [feed(commonJs)] }`,
      ['@Stream() or @Sse()', COMMONJS, 'StreamingModule.forRoot()', ESM],
    ],
    [
      'it imports the modules of both',
      `{ imports: [one.StreamingModule.forRoot(), two.StreamingModule.forRoot()], controllers: [feed(one), feed(two)] }`,
      ['StreamingModule.forRoot()', ESM, 'StreamingModule.forRoot()', SECOND],
    ],
    [
      'its hubs are of another copy than its module',
      `{ imports: [one.StreamingModule.forRoot(), two.StreamingModule.registerHub({ name: 'prices' })] }`,
      ['StreamingModule.forRoot()', ESM, 'StreamingModule.registerHub()', SECOND],
    ],
    [
      'its console is of another copy than its module',
      `{ imports: [oneConsole.StreamingConsoleModule.forRoot({ development: true }), commonJs.StreamingModule.forRoot()] }`,
      ['StreamingConsoleModule.forRoot()', ESM, 'StreamingModule.forRoot()', COMMONJS],
    ],
  ])(
    'does not start, and the error names both: %s',
    async (_what, root, [part = '', from = '', other = '', by = '']) => {
      const [said = ''] = await output(`await refused(${root});`);

      expect(said).toMatch(/^module-duplicate The application uses two copies of nestjs-streaming: /);
      expect(said).toContain(part);
      expect(said).toContain(from);
      expect(said).toContain(other);
      expect(said).toContain(by);
      expect(said).toMatch(/Install one version .* load it either with import or with require\(\)$/);
    },
    60_000,
  );

  it('gets the same error from the helpers for tests of another copy', async () => {
    const [said] = await output(`
      const app = await started({ imports: [two.StreamingModule.forRoot()], controllers: [feed(two)] });
      await oneKit.expectNoOpenStreams(app).catch(say);
      await app.close();
    `);

    expect(said).toMatch(
      /^module-duplicate The application uses two copies of nestjs-streaming: nestjs-streaming\/testing comes from .*\/nestjs-streaming\/dist\/shared\/.*, and StreamingModule\.forRoot\(\) from .*\/second-copy\/dist\//,
    );
  }, 60_000);
});

describe('two copies of the package in one process', () => {
  it('serve the streams of two applications', async () => {
    const said = await output(`
      for (const copy of [one, two, commonJs]) {
        const app = await started({ imports: [copy.StreamingModule.forRoot()], controllers: [feed(copy)] });
        await streamed(app);
        await app.close();
      }
    `);

    expect(said).toEqual(['1', '', '1', '', '1']);
  }, 60_000);

  it('understand the hooks, parameters and events of each other', async () => {
    const said = await output(`
      const app = await started({
        imports: [one.StreamingModule.forRoot()],
        controllers: [feed(one, two.UseStreamHooks({ beforeChunk: (n) => two.event({ id: 'a', data: n + 1 }) }))],
      });
      const response = await fetch('http://127.0.0.1:' + app.getHttpServer().address().port + '/stream', {
        headers: { Accept: 'text/event-stream' },
      });
      console.log(JSON.stringify(await response.text()));
      await app.close();
    `);

    expect(said).toEqual([JSON.stringify('id: a\ndata: 2\n\n')]);
  }, 60_000);
});
