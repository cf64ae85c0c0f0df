import 'reflect-metadata';
import { deepStrictEqual, rejects, strictEqual } from 'node:assert';
import { Controller, type INestApplication, Module, type Type } from '@nestjs/common';
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core';
import { ConnectedStream, Sse, Stream, StreamConnection, StreamingModule } from 'nestjs-streaming';
import { expectNoOpenStreams, streamOf, useFakeClock } from 'nestjs-streaming/testing';

// Run by "node --test" and by Vitest, without fast-check, which only broker contracts need.
const { afterEach, beforeEach, test } = (await import(
  process.env.VITEST ? 'vitest' : 'node:test'
)) as typeof import('node:test');

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

const platform = process.env.PLATFORM === 'fastify' ? 'Fastify' : 'Express';
const adapters = (await import(`@nestjs/platform-${platform.toLowerCase()}`)) as Record<
  string,
  Type<AbstractHttpAdapter>
>;
const Adapter = adapters[`${platform}Adapter`];
if (!Adapter) throw new Error(`No adapter for ${platform}`);
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
