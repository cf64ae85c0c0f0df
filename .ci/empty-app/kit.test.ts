import 'reflect-metadata';
import { deepStrictEqual, rejects, strictEqual } from 'node:assert';
import type * as runner from 'node:test';
import { Controller, type INestApplication, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ConnectedStream, Sse, Stream, StreamConnection, StreamingModule } from 'nestjs-streaming';
import { expectNoOpenStreams, streamOf, useFakeClock } from 'nestjs-streaming/testing';
import { Adapter } from './adapter.js';

// Run by "node --test", Vitest and Jest, without fast-check, which only broker contracts need.
declare const test: typeof runner.test;
declare const beforeEach: typeof runner.beforeEach;
declare const afterEach: typeof runner.afterEach;

@Controller('feed')
class Feed {
  @Stream('numbers')
  *numbers() {
    for (let i = 1; ; i++) yield { i };
  }

  @Stream('export', { format: 'bytes' })
  *export() {
    for (;;) yield Buffer.alloc(65_536);
  }

  @Sse('progress')
  progress(@ConnectedStream() job: StreamConnection<string>) {
    void job.send('started');
  }
}

@Module({ imports: [StreamingModule.forRoot({ shutdown: { grace: 0 } })], controllers: [Feed] })
class AppModule {}

let app: INestApplication;

beforeEach(async () => {
  app = await NestFactory.create(AppModule, new Adapter(), { logger: ['error', 'warn'] });
});

afterEach(() => app.close());

for (const format of ['ndjson', 'sse', 'json', 'json-seq'] as const) {
  test(`reads ${format}`, async () => {
    const stream = await streamOf<{ i: number }>(app, '/feed/numbers', { format });
    deepStrictEqual(await stream.collect(2), [{ data: { i: 1 } }, { data: { i: 2 } }]);
    await stream.until(({ data }) => data.i > 10);
    stream.disconnect();
    await expectNoOpenStreams(app);
  });
}

test('lets the time pass', async () => {
  const clock = useFakeClock(app);
  const stream = await streamOf(app, '/feed/progress', { all: true });
  await clock.advance(15_000);
  deepStrictEqual(await stream.collect(2), [{ data: 'started' }, { comment: '' }]);
  clock.restore();
});

test('a client that stalls is given up', async () => {
  const clock = useFakeClock(app);
  const stream = await streamOf(app, '/feed/export');
  stream.stall();
  await clock.advance(60_000);
  await expectNoOpenStreams(app);
  stream.resume();
  await stream.rest();
  strictEqual(stream.ended, 'truncated');
});

test('says what is open', async () => {
  await streamOf(app, '/feed/progress');
  await rejects(expectNoOpenStreams(app, { timeout: 10 }), /1\n {2}stream \w+ of Feed\.progress, open, for \d+ ms$/);
});
