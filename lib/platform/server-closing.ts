import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { transportOf } from '../transport/transport-of.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { isEventSource } from './event-source.js';
import { pathOf } from './path-matcher.js';

/** Node.js closes an idle connection after this time, in milliseconds, once the server has been closed. */
const KEEP_ALIVE_MS = 1;

/** With fewer connections without a request than this, those that have closed are not looked for. */
const FEWEST_SILENT = 64;

/** The part of a Fastify application that is used. */
interface ClosableInstance {
  close(...args: readonly unknown[]): unknown;
}

interface ClosingParts {
  readonly logger: StreamLogger;
  /** Whether a path may be one of a stream route. */
  isOurs(path: string): boolean;
  /** How long requests to stream routes may go on without an answer when the server has been closed, in milliseconds. */
  readonly patience: number;
}

/**
 * Closes a server within a limited time. Node.js waits for every connection that is not idle, and so for those on which nothing was ever
 * sent, which browsers and undici open in advance, and for requests that are never answered, as when a guard waits for ever.
 */
export class ServerClosing {
  /** Connections on which no request has come yet, with the number of bytes that had come when they were made: those of a handshake of TLS. */
  private readonly silent = new Map<Socket, number>();
  /** With how many of them those that have closed are forgotten. */
  private mostSilent = FEWEST_SILENT;
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
    const onResponseClose = this.answered();
    const add = (socket: Socket): void => {
      if (!this.silent.has(socket)) {
        this.forgetClosed();
        this.silent.set(socket, socket.bytesRead);
        if (this.timer && !server.listening) {
          // It was accepted, or its handshake of TLS begun, before the server was closed.
          socket.destroy();
        }
      }
    };
    server.on('connection', add);
    server.on('secureConnection', add);
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      this.silent.delete(socket);
      this.unanswered.add(response);
      response.on('close', onResponseClose);
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
   * From when an application of Fastify is closed, Fastify answers all requests with a 503 of its own, also while `preClose` hooks run. An
   * `EventSource` would give up for good: its connection is dropped, and it comes back.
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
      transportOf(response).destroy('shutdown');
    }
  }

  private begin(): void {
    const { server, parts } = this;
    // For connections whose response is still under way. Those that are idle are closed by now.
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
          `${method} ${path} was given up: it was not answered within ${patience} ms of the server being closed`,
        );
        transportOf(response).destroy('shutdown');
      }
    }
  }

  /** Forgets connections that closed without a request, now and then: a listener for each costs 200 bytes, also once it is removed. */
  private forgetClosed(): void {
    const { silent } = this;
    if (silent.size < this.mostSilent) {
      return;
    }
    for (const socket of silent.keys()) {
      if (socket.destroyed) {
        silent.delete(socket);
      }
    }
    this.mostSilent = Math.max(FEWEST_SILENT, 2 * silent.size);
  }

  /** A listener that is one for all responses: a closure for each would live as long as it. */
  private answered(): (this: ServerResponse) => void {
    const { unanswered } = this;
    return function onClose(this: ServerResponse) {
      unanswered.delete(this);
    };
  }
}
