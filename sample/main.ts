import { ConsoleLogger, Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { StreamError } from 'nestjs-streaming';
import { AppModule } from './app.module.js';

/**
 * Browsers and fetch() open some connections in advance, and `app.close()` would wait for them. Streams have ended
 * before these connections are closed.
 */
const CLOSING = { forceCloseConnections: true };

/** Logs an error of the package without its stack: the message says what to do, for example about REDIS_URL. */
class SampleLogger extends ConsoleLogger {
  override error(message: unknown, ...rest: unknown[]): void {
    if (message instanceof StreamError) {
      super.error(message.message, 'Sample');
    } else {
      super.error(message, ...rest);
    }
  }
}

const OPTIONS = { logger: new SampleLogger() };

type App = NestExpressApplication | NestFastifyApplication;

async function create(platform: string): Promise<App> {
  if (platform === 'fastify') {
    const { FastifyAdapter } = await import('@nestjs/platform-fastify');
    return NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(CLOSING), OPTIONS);
  }
  if (platform === 'express') {
    const { StreamingExpressAdapter } = await import('nestjs-streaming/express');
    return NestFactory.create<NestExpressApplication>(AppModule, new StreamingExpressAdapter(), {
      ...CLOSING,
      ...OPTIONS,
    });
  }
  throw new Error(`PLATFORM is "express" or "fastify", not "${platform}"`);
}

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Error(`PORT is a number from 0 to 65535, not "${text}"`);
  }
  return port;
}

const port = portOf(process.env.PORT ?? '3000');
const app = await create(process.env.PLATFORM ?? 'express');
// SIGINT and SIGTERM close the application, and with it every stream.
app.enableShutdownHooks();
const description = new DocumentBuilder().setTitle('nestjs-streaming: sample').setVersion('1').build();
SwaggerModule.setup('api', app, () => SwaggerModule.createDocument(app, description));
await app.listen(port);
const { port: listening } = app.getHttpServer().address() as { port: number };
new Logger('Sample').log(`Open http://localhost:${listening}`);
