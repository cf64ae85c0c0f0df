import type { AddressInfo } from 'node:net';
import type { ModuleMetadata, NestApplicationOptions } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import type { Express } from 'express';
import { StreamingExpressAdapter } from '../../lib/express/index.js';
import { express } from './express.js';
import { RawClient } from './raw-client.js';

export interface SideBySide extends Pick<ModuleMetadata, 'controllers' | 'imports' | 'providers'> {
  readonly options?: NestApplicationOptions;
  /** Called with the application of Express, before the adapter receives it. */
  readonly prepare?: (instance: Express) => void;
  readonly configure?: (app: NestExpressApplication) => void | Promise<void>;
}

/** One request of {@link answers}. A path alone is a GET. */
export type RequestText = string | { method?: string; path: string; headers?: Record<string, string>; body?: string };

/**
 * Sends the same requests to an application on Nest's adapter and to one on that of this package, each request on a new connection, and
 * expects the same bytes from both.
 * @returns the responses, with their dates and ports replaced
 */
export async function answers(setup: SideBySide, requests: readonly RequestText[]): Promise<string[]> {
  const [ofNest, ofOurs] = [
    await answersOf(setup, (instance) => new ExpressAdapter(instance), requests),
    await answersOf(setup, (instance) => new StreamingExpressAdapter(instance), requests),
  ];
  expect(ofOurs).toEqual(ofNest);
  return ofOurs;
}

/** An application that listens. The caller closes it. */
export async function listening(setup: SideBySide, adapterOf: (instance: Express) => ExpressAdapter) {
  class Root {}
  const { controllers, imports, providers, options, prepare, configure } = setup;
  const instance = express();
  prepare?.(instance);
  const root = { module: Root, controllers, imports, providers };
  const app = await NestFactory.create<NestExpressApplication>(root, adapterOf(instance), {
    logger: false,
    ...options,
  });
  await configure?.(app);
  await app.listen(0, '127.0.0.1');
  return { app, port: (app.getHttpServer().address() as AddressInfo).port };
}

async function answersOf(
  setup: SideBySide,
  adapterOf: (instance: Express) => ExpressAdapter,
  requests: readonly RequestText[],
): Promise<string[]> {
  const { app, port } = await listening(setup, adapterOf);
  try {
    const found: string[] = [];
    for (const request of requests) {
      found.push(await answer(port, request));
    }
    return found;
  } finally {
    await app.close();
  }
}

async function answer(port: number, request: RequestText): Promise<string> {
  const { method = 'GET', path, headers = {}, body = '' } = typeof request === 'string' ? { path: request } : request;
  const client = await RawClient.connect(port);
  const all: Record<string, string> = { Host: 'example.test', ...headers, Connection: 'close' };
  if (body !== '') {
    all['Content-Length'] = String(Buffer.byteLength(body));
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  client.socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
  const received = await client.closed();
  return received.replace(/^Date: .*$/m, 'Date: now').replaceAll(`:${port}`, ':port');
}

/** The body of a response. */
export function bodyOf(answer: string | undefined): string {
  return answer?.slice(answer.indexOf('\r\n\r\n') + 4) ?? '';
}

/** The status of a response. */
export function statusOf(answer: string | undefined): number {
  return Number(answer?.split(' ', 2)[1]);
}
