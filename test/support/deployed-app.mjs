// An application in a separate process, which is ended with SIGTERM and started again. It is JavaScript, like a deployed application, and uses the
// output of `npm run build`.
import 'reflect-metadata';
import { Body, Controller, Get, Header, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { getHubToken, LastEventId, Sse, Stream, StreamingModule } from '../../dist/index.js';

const { PLATFORM, PORT, DIRECTORY, BROKER, CONNECTIONS } = process.env;
const { FileBroker } = await import(BROKER);

const ROWS = 10;
const ROW_MS = 100;

class Feed {
  constructor(hub) {
    this.hub = hub;
  }

  page() {
    return '<!doctype html><title>feed</title>';
  }

  publish({ n }) {
    return this.hub.publish({ n });
  }

  feed(after) {
    return this.hub.subscribe({ after });
  }

  /** Takes a second, during which a deploy has to wait. */
  async *slow() {
    for (let row = 1; row <= ROWS; row++) {
      yield { row };
      await new Promise((resolve) => setTimeout(resolve, ROW_MS));
    }
  }
}

function decorate(name, decorators, ...parameters) {
  for (const [index, decorator] of parameters.entries()) {
    decorator(Feed.prototype, name, index);
  }
  const descriptor = Object.getOwnPropertyDescriptor(Feed.prototype, name);
  Reflect.defineMetadata(
    'design:paramtypes',
    parameters.map(() => Object),
    Feed.prototype,
    name,
  );
  for (const decorator of decorators) {
    Object.defineProperty(Feed.prototype, name, decorator(Feed.prototype, name, descriptor) ?? descriptor);
  }
}

decorate('page', [Get(), Header('Content-Type', 'text/html')]);
decorate('publish', [Post('feed')], Body());
decorate('feed', [Sse('feed')], LastEventId());
decorate('slow', [Stream('slow', { format: 'ndjson' })]);
Controller()(Feed);
Reflect.defineMetadata('design:paramtypes', [Object], Feed);
Reflect.defineMetadata('self:paramtypes', [{ index: 0, param: getHubToken('feed') }], Feed);

class AppModule {}
Module({
  imports: [
    StreamingModule.forRoot({
      broker: new FileBroker(DIRECTORY),
      limits: { connections: Number(CONNECTIONS), retryAfter: 400 },
      shutdown: { grace: 3_000, retry: 400 },
    }),
    StreamingModule.registerHub({ name: 'feed', history: { limit: 100_000 } }),
  ],
  controllers: [Feed],
})(AppModule);

const settings = { logger: ['error', 'warn'] };
const app =
  PLATFORM === 'express'
    ? await NestFactory.create(AppModule, settings)
    : await NestFactory.create(AppModule, new FastifyAdapter(), settings);
app.enableShutdownHooks();
await app.listen(Number(PORT), '127.0.0.1');
process.stdout.write('listening\n');
