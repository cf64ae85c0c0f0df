import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { HttpServer } from '@nestjs/common';
import { pathMatcher } from '../platform/path-matcher.js';
import type { WebSocketServerLike } from '../transport/websocket/ws.js';
import { isNotInstalled } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { protocolOf } from './handshake.js';
import { UpgradeGate } from './upgrade-gate.js';
import type { WebSocketSettings } from './websocket-plan.js';

/** The number of pieces in which a message may be read from the socket. Each piece takes a few hundred bytes of memory, even if it is small. */
const CHUNKS = 1_024;
/** One more piece is allowed for each of this number of bytes of `maxPayload`. */
const BYTES_PER_CHUNK = 256;

/** The part of the package `ws` that is used. */
interface WsModule {
  readonly WebSocketServer: new (options: object) => WebSocketServerLike;
}

/** @throws {StreamError} `module-missing` if `ws` is not installed */
async function importWs(): Promise<WsModule> {
  try {
    return await import('ws');
  } catch (cause) {
    throw isNotInstalled('ws', cause)
      ? new StreamError(
          'module-missing',
          'StreamingModule.forRoot(): "websocket" needs the package ws: npm install ws',
          { cause },
        )
      : cause;
  }
}

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

/** Accepts the WebSockets of an application. */
export class WebSocketSupport {
  private gate: UpgradeGate | undefined;

  constructor(
    readonly settings: WebSocketSettings,
    private readonly logger: StreamLogger,
  ) {}

  /**
   * Accepts upgrades to these paths.
   * @throws {StreamError} `module-missing` if `ws` is not installed
   */
  async open(adapter: HttpServer, paths: readonly string[]): Promise<void> {
    const { WebSocketServer } = await importWs();
    this.gate = new UpgradeGate({
      server: adapter.getHttpServer() as Server,
      webSockets: this.serverOf(WebSocketServer),
      logger: this.logger,
      isOurs: pathMatcher(paths),
      handle: handlerOf(adapter),
    });
    this.gate.open();
  }

  async close(): Promise<void> {
    await this.gate?.close();
  }

  private serverOf(Constructor: WsModule['WebSocketServer']): WebSocketServerLike {
    const { maxPayload, maxFragments } = this.settings;
    return new Constructor({
      noServer: true,
      clientTracking: false,
      // Frames are not compressed, since they are made once for all clients.
      perMessageDeflate: false,
      // The transport answers pings.
      autoPong: false,
      maxPayload,
      maxFragments,
      maxBufferedChunks: CHUNKS + Math.ceil(maxPayload / BYTES_PER_CHUNK),
      handleProtocols: (_offered: ReadonlySet<string>, request: IncomingMessage) => protocolOf(request) ?? false,
    });
  }
}

/** Returns the request handler of the application: an Express application is one itself, a Fastify instance has one. */
function handlerOf(adapter: HttpServer): Handle {
  const instance = adapter.getInstance() as Handle & { readonly routing?: Handle };
  return adapter.getType() === 'fastify'
    ? (request, response) => instance.routing?.(request, response)
    : (request, response) => instance(request, response);
}
