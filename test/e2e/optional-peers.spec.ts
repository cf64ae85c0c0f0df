import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const module = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;

/** Tells when a package is asked for, and finds it nowhere unless it is `installed`. */
const hooks = (peer: string, installed: boolean): string =>
  module(`
    import { writeSync } from 'node:fs';
    export const resolve = (name, context, next) => {
      if (name !== '${peer}') return next(name, context);
      writeSync(1, 'asked for it\\n');
      return next(name, ${installed} ? context : { ...context, parentURL: 'file:///nowhere/main.js' });
    };
  `);

const PROGRAM = `
  import 'reflect-metadata';
  import { Controller, Module } from '@nestjs/common';
  import { NestFactory } from '@nestjs/core';
  import { Stream, StreamingModule } from 'nestjs-streaming';
  console.log('imported');
  class Feed { feed() { return ['a', 'stream']; } }
  const descriptor = Object.getOwnPropertyDescriptor(Feed.prototype, 'feed');
  Stream('stream', { format: 'json', type: Feed })(Feed.prototype, 'feed', descriptor);
  Object.defineProperty(Feed.prototype, 'feed', descriptor);
  Controller()(Feed);
  class App {}
  Module({ imports: [StreamingModule.forRoot()], controllers: [Feed] })(App);
  const app = await NestFactory.create(App, { logger: ['error'] });
  await app.listen(0, '127.0.0.1');
  console.log(await (await fetch('http://127.0.0.1:' + app.getHttpServer().address().port + '/stream')).text());
  await app.close();
`;

/** Runs code that uses the built package in a separate process. */
async function run(peer: string, installed: boolean): Promise<string[]> {
  const register = module(
    `import { register } from 'node:module'; register(${JSON.stringify(hooks(peer, installed))});`,
  );
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--no-warnings', '--import', register, '--input-type=module', '--eval', PROGRAM],
    { cwd: ROOT, timeout: 60_000 },
  );
  return stdout.trimEnd().split('\n');
}

describe.each(['@nestjs/swagger', '@opentelemetry/api'])('%s', (peer) => {
  it('is not needed: streams work if it is not installed', async () => {
    expect(await run(peer, false)).toEqual(['imported', 'asked for it', '["a","stream"]']);
  }, 60_000);

  it('is loaded when an application starts, and never when the package is imported', async () => {
    expect(await run(peer, true)).toEqual(['imported', 'asked for it', '["a","stream"]']);
  }, 60_000);
});

describe('nestjs-streaming-native', () => {
  it('is not needed: an application that starts looks for it, and streams work if it is not installed', async () => {
    expect(await run('nestjs-streaming-native', false)).toEqual(['imported', 'asked for it', '["a","stream"]']);
  }, 60_000);
});
