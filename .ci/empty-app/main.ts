import 'reflect-metadata';
import { ok, rejects, strictEqual } from 'node:assert';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { Controller, Module, Param, ParseIntPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ConnectedStream,
  Hub,
  InjectHub,
  LastEventId,
  MemoryBroker,
  Sse,
  Stream,
  StreamConnection,
  StreamingModule,
  StreamSignal,
} from 'nestjs-streaming';
import { fromText, uiMessages } from 'nestjs-streaming/ai';
import { connect, type StreamOf } from 'nestjs-streaming/client';
import { StreamingConsoleModule } from 'nestjs-streaming/console';
import { NatsBroker } from 'nestjs-streaming/nats';
import { PostgresBroker } from 'nestjs-streaming/postgres';
import { RedisBroker } from 'nestjs-streaming/redis';
import { brokerContract } from 'nestjs-streaming/testing';
import { fromWorker } from 'nestjs-streaming/worker';
import { of } from 'rxjs';
import { Adapter } from './adapter.js';

@Controller('feed')
class Feed {
  constructor(@InjectHub('prices') readonly prices: Hub<number>) {}

  @Sse('prices')
  watch(@LastEventId() after?: string) {
    return this.prices.subscribe({ after });
  }

  @Stream('numbers/:n')
  async *numbers(@Param('n', ParseIntPipe) n: number, @StreamSignal() signal: AbortSignal) {
    for (let i = 1; i <= n && !signal.aborted; i++) yield { i };
  }

  @Stream('counted/:n')
  counted(@Param('n', ParseIntPipe) n: number, @StreamSignal() signal: AbortSignal) {
    return fromWorker<{ n: number }>(join(dirname(process.argv[1]), 'count.js'), { data: n, signal });
  }

  @Sse('one')
  one() {
    return of({ data: 'one', id: '1' });
  }

  @Stream('message', { format: uiMessages })
  message() {
    return fromText('hello');
  }

  @Stream('pushed', { format: 'text' })
  async pushed(@ConnectedStream() stream: StreamConnection<string>) {
    await stream.send('pushed');
    void stream.close();
  }
}

@Module({
  imports: [
    StreamingModule.forRoot(),
    StreamingModule.registerHub({ name: 'prices' }),
    StreamingConsoleModule.forRoot({ development: true }),
  ],
  controllers: [Feed],
})
class AppModule {}

// Without top-level await, which CommonJS does not have.
async function main() {
  const app = await NestFactory.create(AppModule, new Adapter(), { logger: ['error', 'warn'] });
  await app.listen(0, '127.0.0.1');
  const base = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}/feed`;
  const text = async (path: string) => (await fetch(base + path)).text();
  strictEqual(await text('/numbers/2'), '{"i":1}\n{"i":2}\n');
  strictEqual(await text('/counted/3'), '{"n":1}\n{"n":2}\n{"n":3}\n');
  strictEqual(await text('/one'), 'id: 1\ndata: one\n\n');
  strictEqual(await text('/pushed'), 'pushed');
  ok((await text('/message')).endsWith('data: {"type":"finish"}\n\ndata: [DONE]\n\n'));
  ok((await text('/../console')).includes('<title>Streams'));
  const { prices } = app.get(Feed);
  const first = await prices.publish(1);
  const second = await prices.publish(2);
  const resume = { get: () => first, set: () => undefined };
  for await (const { id, data } of connect<StreamOf<typeof Feed, 'watch'>>(`${base}/prices`, { resume })) {
    strictEqual(`${id} ${data}`, `${second} 2`);
    break;
  }
  // A client that cannot connect at first.
  let attempts = 0;
  const url = () => (++attempts === 1 ? 'http://127.0.0.1:9/' : `${base}/numbers/2`);
  const numbers: number[] = [];
  for await (const { data } of connect<{ i: number }>(url, { as: 'ndjson', retry: { base: 1 } })) numbers.push(data.i);
  strictEqual(`${numbers} ${attempts}`, '1,2 2');
  for (const { run } of brokerContract({ create: () => new MemoryBroker(), runs: 10 })) await run();
  await app.close();
  // No package for Redis, NATS or Postgres is installed.
  for (const broker of [
    new RedisBroker({ url: 'redis://127.0.0.1:1' }),
    new NatsBroker({ servers: 'nats://127.0.0.1:1' }),
    new PostgresBroker({ url: 'postgres://127.0.0.1:1' }),
  ]) {
    await rejects(broker.open('prices', { limit: 1, ttl: 1 }), { code: 'module-missing' });
    await broker.close();
  }
  console.log(`the packed package streams with ${Adapter.name}`);
}

void main();
