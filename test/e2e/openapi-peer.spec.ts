import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const module = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;

/** Tells when `@nestjs/swagger` is asked for, and finds it nowhere unless it is `installed`. */
const hooks = (installed: boolean): string =>
  module(`
    import { writeSync } from 'node:fs';
    export const resolve = (name, context, next) => {
      if (name !== '@nestjs/swagger') return next(name, context);
      writeSync(1, 'asked for swagger\\n');
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

/** What the built package does in a process of its own. */
async function run(installed: boolean): Promise<string[]> {
  const register = module(`import { register } from 'node:module'; register(${JSON.stringify(hooks(installed))});`);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--no-warnings', '--import', register, '--input-type=module', '--eval', PROGRAM],
    { cwd: ROOT, timeout: 60_000 },
  );
  return stdout.trimEnd().split('\n');
}

it('streams where @nestjs/swagger is not installed', async () => {
  expect(await run(false)).toEqual(['imported', 'asked for swagger', '["a","stream"]']);
}, 60_000);

it('asks for @nestjs/swagger when an application starts, and never when it is imported', async () => {
  expect(await run(true)).toEqual(['imported', 'asked for swagger', '["a","stream"]']);
}, 60_000);
