import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { INestApplication } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { StreamRegistry } from '../../connection/registry/stream-registry.js';
import { StreamError } from '../../util/errors.js';
import { otherCopyIn } from '../../util/package-copy.js';

/** Applications whose listen() is pending. A second call would initialize the application twice. */
const starting = new WeakMap<INestApplication, Promise<unknown>>();

/** Maps each address for all interfaces to an address to connect to. */
const REACHABLE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** Returns the origin of an application. If it does not listen yet, it starts to listen on a free port of 127.0.0.1. */
export async function originOf(app: INestApplication): Promise<string> {
  const server = app.getHttpServer() as Server;
  if (!server.listening) {
    const start = starting.get(app) ?? app.listen(0, '127.0.0.1');
    starting.set(app, start);
    await start;
  }
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new StreamError(
      'invalid-argument',
      `streamOf() needs a port, but the application ${address === null ? 'has been closed' : `listens on ${address}`}`,
    );
  }
  // Only HTTP/2 servers of Node.js have this method. Those with TLS may also support HTTP/1.1.
  if ('updateSettings' in server && !(server instanceof TlsServer)) {
    throw new StreamError(
      'invalid-argument',
      'streamOf() speaks HTTP/1.1, but this application speaks only HTTP/2: leave out `http2` in the test, or set `https` with `allowHTTP1`',
    );
  }
  return `${server instanceof TlsServer ? 'https' : 'http'}://${hostOf(address)}:${address.port}`;
}

function hostOf({ address, family }: AddressInfo): string {
  const host = REACHABLE[address] ?? address;
  return family === 'IPv6' ? `[${host}]` : host;
}

/** Returns the stream registry of an application. */
export function registryOf(app: INestApplication): StreamRegistry {
  try {
    return app.get(StreamRegistry, { strict: false });
  } catch (cause) {
    const otherCopy = otherCopyIn(app.get(ModulesContainer).values(), 'nestjs-streaming/testing');
    throw (
      otherCopy ??
      new StreamError(
        'module-missing',
        'This application has no streams: import StreamingModule.forRoot() in its root module',
        { cause },
      )
    );
  }
}
