import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ConnectedStream, Stream, StreamingModule } from 'nestjs-streaming';

/**
 * An application in a separate process, to measure the memory that its WebSocket clients take. For each message of its parent, it collects
 * garbage and answers with the number of bytes in use.
 */

class Feed {
  /** Receives messages, and does not read them. */
  async *unread(/** @type {import('nestjs-streaming').StreamConnection} */ stream) {
    const messages = stream.messages[Symbol.asyncIterator]();
    yield 'open';
    await new Promise(() => undefined);
    yield messages;
  }

  /** Never accepts an upgrade. */
  unanswered() {
    return new Promise(() => undefined);
  }
}
for (const key of /** @type {const} */ (['unread', 'unanswered'])) {
  ConnectedStream()(Feed.prototype, key, 0);
  const descriptor = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(Feed.prototype, key));
  Stream(key, { openDelay: key === 'unread' ? 0 : 'first-chunk' })(Feed.prototype, key, descriptor);
  Object.defineProperty(Feed.prototype, key, descriptor);
}
Reflect.decorate([(await import('@nestjs/common')).Controller()], Feed);

class AppModule {}
Module({ imports: [StreamingModule.forRoot({ websocket: true })], controllers: [Feed] })(AppModule);

const settings = { logger: /** @type {const} */ (false), abortOnError: false };
const app = await (process.argv[2] === 'express'
  ? NestFactory.create(AppModule, settings)
  : NestFactory.create(AppModule, new FastifyAdapter(), settings));
await app.listen(0, '127.0.0.1');

process.on('message', () => {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  process.send?.(heapUsed + external);
});
process.send?.(app.getHttpServer().address().port);
