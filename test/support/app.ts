import type { AddressInfo } from 'node:net';
import type { INestApplication, LoggerService, ModuleMetadata, Type } from '@nestjs/common';
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { StreamingModule, type StreamingModuleOptions, StreamRegistry } from '../../lib/index.js';

export type Platform = 'express' | 'fastify';

/**
 * Every test over sockets runs on both platforms: `describe.each(PLATFORMS)('%s: …', (platform) => …)`. If the tests run with another adapter for
 * Express, those of Fastify are left out.
 */
export const PLATFORMS: readonly Platform[] = process.env.EXPRESS_ADAPTER ? ['express'] : ['express', 'fastify'];

export interface AppSetup {
  readonly controllers?: Type[];
  readonly providers?: ModuleMetadata['providers'];
  readonly imports?: ModuleMetadata['imports'];
  readonly options?: StreamingModuleOptions;
  /** The adapter of Express. Defaults to that of Nest, or to that of `EXPRESS_ADAPTER`: see `express-adapter.ts`. */
  readonly adapter?: AbstractHttpAdapter;
  /** Options of the Fastify adapter, such as `http2`. */
  readonly fastify?: ConstructorParameters<typeof FastifyAdapter>[0];
  /** Whether the requests keep the bytes of their bodies. */
  readonly rawBody?: boolean;
  /** Called before the application is initialized: middleware, global prefixes, plugins, … */
  readonly configure?: (app: INestApplication) => void | Promise<void>;
}

/** The log of the application: a line `level message` for each entry. */
export class LogRecorder implements LoggerService {
  readonly lines: string[] = [];
  log = (message: unknown) => void this.lines.push(`log ${String(message)}`);
  error = (message: unknown, ...rest: unknown[]) =>
    void this.lines.push(`error ${String(message)} ${rest.map(String).join(' ')}`);
  warn = (message: unknown) => void this.lines.push(`warn ${String(message)}`);
  debug = (message: unknown) => void this.lines.push(`debug ${String(message)}`);

  /** The lines of one level. */
  of(level: 'error' | 'warn' | 'debug'): string[] {
    return this.lines.filter((line) => line.startsWith(`${level} `));
  }
}

export interface TestApp {
  readonly app: INestApplication;
  readonly port: number;
  readonly logs: LogRecorder;
  readonly registry: StreamRegistry;
  url(path: string): string;
  close(): Promise<void>;
}

/** A Nest application with the module under test, listening on a free port of 127.0.0.1. */
export async function startApp(platform: Platform, setup: AppSetup): Promise<TestApp> {
  class TestModule {}
  const logs = new LogRecorder();
  const dynamicModule = {
    module: TestModule,
    imports: [StreamingModule.forRoot(setup.options), ...(setup.imports ?? [])],
    controllers: [...(setup.controllers ?? [])],
    providers: [...(setup.providers ?? [])],
  };
  const { rawBody } = setup;
  const settings = { logger: logs, abortOnError: false, forceCloseConnections: false, rawBody };
  const adapter = platform === 'express' ? setup.adapter : new FastifyAdapter(setup.fastify);
  const app: INestApplication = adapter
    ? await NestFactory.create(dynamicModule, adapter, settings)
    : await NestFactory.create(dynamicModule, settings);
  await setup.configure?.(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return {
    app,
    port,
    logs,
    registry: app.get(StreamRegistry),
    url: (path) => `http://127.0.0.1:${port}${path}`,
    close: () => app.close(),
  };
}
