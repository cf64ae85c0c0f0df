import type { EventEmitter } from 'node:events';
import { type AppSetup, PLATFORMS, type Platform } from '../app.js';
import type { RunningApp } from '../running.js';
import type { Cause, StreamClient } from './client.js';
import { Http1Client } from './http1.js';
import { Http2Client, http2Text } from './http2.js';
import { WebSocketClient } from './websocket.js';

export type { Cause } from './client.js';
export { StreamClient } from './client.js';
export { Http1Client } from './http1.js';
export { EVENTS, WebSocketClient } from './websocket.js';

/** A kind of client. The lifecycle of streams is tested with every kind. */
export interface Driver {
  readonly name: string;
  readonly platform: Platform;
  /** The set-up of the application that it needs. */
  readonly setup: Pick<AppSetup, 'options' | 'fastify'>;
  /** How clients learn that a stream has opened: from the status of the route, or from an upgrade. */
  readonly accepted: (status: number) => number;
  /** The end that a client observes, for each reason. */
  readonly endings: Readonly<Record<Cause, readonly string[]>>;
  open(port: number, path: string, headers?: Readonly<Record<string, string>>): StreamClient;
  /** The body of a route that is not a stream. */
  text(port: number, path: string): Promise<string>;
  /** The server's side of clients, in the order of their arrival. Each emits `close` when its client has disconnected. */
  peers(app: RunningApp): readonly EventEmitter[];
}

const NDJSON = { accept: 'application/x-ndjson' };

const HTTP_ENDINGS: Driver['endings'] = {
  completed: ['complete'],
  shutdown: ['complete'],
  'server-closed': ['complete'],
  deadline: ['complete'],
  error: ['broken'],
  exception: ['broken'],
  overload: ['broken'],
};

const http = {
  accepted: (status: number) => status,
  endings: HTTP_ENDINGS,
  text: async (port: number, path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text(),
  peers: ({ sockets }: RunningApp): readonly EventEmitter[] => sockets.seen,
};

function http1(platform: Platform): Driver {
  return {
    ...http,
    name: `HTTP/1.1, ${platform}`,
    platform,
    setup: {},
    open: (port, path, headers) => new Http1Client(port, path, { ...NDJSON, ...headers }),
  };
}

function gzip(platform: Platform): Driver {
  return {
    ...http1(platform),
    name: `HTTP/1.1 and gzip, ${platform}`,
    setup: { options: { compression: { encodings: ['gzip'], threshold: 0 } } },
    open: (port, path, headers) => new Http1Client(port, path, { ...NDJSON, 'accept-encoding': 'gzip', ...headers }),
  };
}

const http2: Driver = {
  ...http,
  name: 'HTTP/2, fastify',
  platform: 'fastify',
  setup: { fastify: { http2: true } },
  open: (port, path, headers) => new Http2Client(port, path, { ...NDJSON, ...headers }),
  text: http2Text,
  peers({ app }) {
    const streams: EventEmitter[] = [];
    (app.getHttpServer() as EventEmitter).on('stream', (stream: EventEmitter) => streams.push(stream));
    return streams;
  },
};

function websocket(platform: Platform): Driver {
  return {
    name: `WebSocket, ${platform}`,
    platform,
    setup: { options: { websocket: true } },
    accepted: () => 101,
    endings: {
      completed: ['1000'],
      shutdown: ['1001'],
      'server-closed': ['1000', '1001'],
      deadline: ['1000', '1001'],
      error: ['1011'],
      // An HttpException, whose cause may be the client.
      exception: ['1011', '1008'],
      // A client that does not read may not receive the code either.
      overload: ['1013', '1006'],
    },
    open: (port, path, headers) => new WebSocketClient(port, path, { ...NDJSON, ...headers }),
    text: http.text,
    peers: http.peers,
  };
}

/** `describe.each(DRIVERS)('$name: …', (driver) => …)` */
export const DRIVERS: readonly Driver[] = [
  http1('express'),
  http1('fastify'),
  http2,
  websocket('express'),
  websocket('fastify'),
  gzip('express'),
  gzip('fastify'),
].filter(({ platform }) => PLATFORMS.includes(platform));
