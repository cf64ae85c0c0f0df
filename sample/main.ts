import { Logger } from '@nestjs/common';
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
/** The code below says in one sentence why the sample does not start. */
const FAILING = { abortOnError: false };

const logger = new Logger('Sample');

type App = NestExpressApplication | NestFastifyApplication;

async function create(platform: string): Promise<App> {
  if (platform === 'fastify') {
    const { FastifyAdapter } = await import('@nestjs/platform-fastify');
    return NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(CLOSING), FAILING);
  }
  if (platform === 'express') {
    return NestFactory.create<NestExpressApplication>(AppModule, { ...CLOSING, ...FAILING });
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

async function start(): Promise<void> {
  const port = portOf(process.env.PORT ?? '3000');
  const app = await create(process.env.PLATFORM ?? 'express');
  // SIGINT and SIGTERM close the application, and with it every stream.
  app.enableShutdownHooks();
  const description = new DocumentBuilder().setTitle('nestjs-streaming: sample').setVersion('1').build();
  SwaggerModule.setup('api', app, () => SwaggerModule.createDocument(app, description));
  await app.listen(port);
  const { port: listening } = app.getHttpServer().address() as { port: number };
  logger.log(`Open http://localhost:${listening}`);
}

await start().catch((error: Error) => {
  // Errors of this package say what to do, for example about REDIS_URL. The place in the code helps only with others.
  logger.error(error instanceof StreamError ? error.message : error.stack);
  process.exit(1);
});
