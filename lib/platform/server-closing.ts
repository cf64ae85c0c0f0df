import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { dropResponse } from '../transport/drop-response.js';
import { onceResponseCloses } from '../transport/response-close.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { isEventSource } from './event-source.js';
import { pathOf } from './path-matcher.js';

/** How long a connection may be idle once the server is closed, in milliseconds. */
const KEEP_ALIVE_MS = 1;

/** With fewer connections without a request than this, closed ones are not removed from the list. */
const MIN_SILENT = 64;

/** The part of a Fastify application that is used. */
interface ClosableInstance {
  close(...args: readonly unknown[]): unknown;
}

interface ClosingParts {
  readonly logger: StreamLogger;
  /** Returns whether a path may belong to a stream route. */
  isOurs(path: string): boolean;
  /** How long requests to stream routes may stay unanswered once the server is closed, in milliseconds. */
  readonly patience: number;
}

/**
 * Closes a server within a limited time. Node.js waits for every connection that is not idle. It also waits for connections without a
 * request, which browsers and undici open in advance, and for requests that are never answered, for example because a guard never resolves.
 */
export class ServerClosing {
  /** Connections without a request so far, each with the number of bytes that were received before it was added: those of a TLS handshake. */
  private readonly silent = new Map<Socket, number>();
  /** The number of such connections at which closed ones are removed. */
  private maxSilent = MIN_SILENT;
  private readonly unanswered = new Set<ServerResponse>();
  private timer: NodeJS.Timeout | undefined;
  private drops = false;

  constructor(
    private readonly server: Server,
    private readonly parts: ClosingParts,
  ) {}

  /** Called once, before the server listens. */
  watch(): void {
    const { server } = this;
    const { close } = server;
    const onResponseClose = this.closeListener();
    const add = (socket: Socket): void => {
      if (!this.silent.has(socket)) {
        this.removeClosed();
        this.silent.set(socket, socket.bytesRead);
        if (this.timer && !server.listening) {
          // The connection was accepted, or its TLS handshake had begun, before the server was closed.
          socket.destroy();
        }
      }
    };
    server.on('connection', add);
    server.on('secureConnection', add);
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      this.silent.delete(socket);
      this.unanswered.add(response);
      onceResponseCloses(response, onResponseClose);
      if (this.drops) {
        this.drop(response);
      }
    });
    server.close = (done) => {
      const closed = Reflect.apply(close, server, [done]) as typeof server;
      this.begin();
      return closed;
    };
  }

  /**
   * Drops the connection of an `EventSource` that sends a request after `close()` of a Fastify application was called, even while `preClose`
   * hooks run. Fastify would respond with 503, after which an `EventSource` does not reconnect. After a dropped connection it does.
   */
  dropOnClose(instance: ClosableInstance): void {
    const { close } = instance;
    instance.close = (...args) => {
      this.drops = true;
      return Reflect.apply(close, instance, args);
    };
  }

  private drop(response: ServerResponse): void {
    if (isEventSource(response.req) && this.parts.isOurs(pathOf(response.req.url))) {
      dropResponse(response);
    }
  }

  private begin(): void {
    const { server, parts } = this;
    // For connections with an unfinished response. Idle connections are closed already.
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    for (const [socket, before] of this.silent) {
      if (socket.bytesRead === before) {
        socket.destroy();
      }
    }
    this.timer ??= setTimeout(() => this.giveUp(), parts.patience).unref();
    server.once('close', () => clearTimeout(this.timer));
  }

  private giveUp(): void {
    const { isOurs, logger, patience } = this.parts;
    for (const response of this.unanswered) {
      const { method, url } = response.req;
      const path = pathOf(url);
      if (isOurs(path)) {
        logger.warn(
          `${method} ${path} was aborted: it was not answered within ${patience} ms after the server was closed`,
        );
        dropResponse(response);
      }
    }
  }

  /** Removes closed connections from time to time. A listener for each connection would take 200 bytes, even after it is removed. */
  private removeClosed(): void {
    const { silent } = this;
    if (silent.size < this.maxSilent) {
      return;
    }
    for (const socket of silent.keys()) {
      if (socket.destroyed) {
        silent.delete(socket);
      }
    }
    this.maxSilent = Math.max(MIN_SILENT, 2 * silent.size);
  }

  /** Returns one listener for all responses: a closure for each response would take memory as long as the response is open. */
  private closeListener(): (this: ServerResponse) => void {
    const { unanswered } = this;
    return function onClose(this: ServerResponse) {
      unanswered.delete(this);
    };
  }
}
