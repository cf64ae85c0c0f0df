import { createServer, IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { NestApplicationOptions } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { StreamError } from '../util/errors.js';
import { sharedClass } from './shared-class.js';

/** An application of Express: what `express()` returns. */
export interface ExpressApplication {
  (request: never, response: never, next?: never): unknown;
  /** The prototype of requests. The adapter replaces it with an object that takes over its properties. */
  request: object;
  /** The prototype of responses. The adapter replaces it with an object that takes over its properties. */
  response: object;
}

/** The classes of which a server creates its requests and responses. */
interface ServerClasses {
  readonly IncomingMessage: typeof IncomingMessage;
  readonly ServerResponse: typeof ServerResponse;
}

type HttpsOptions = NestApplicationOptions['httpsOptions'] & Partial<ServerClasses>;

/**
 * Nest's `ExpressAdapter`, with a server that creates requests and responses with the prototypes of Express from the start. So Express does not have to
 * change them, which costs about half of the time of a short request and 2.5 KB for each open one on Node.js 20 and 22.
 *
 * Everything else is as in `ExpressAdapter`: options of Nest, the methods of `NestExpressApplication`, middleware, mounted applications.
 *
 * @example
 * ```ts
 * const app = await NestFactory.create<NestExpressApplication>(AppModule, new StreamingExpressAdapter());
 * ```
 */
export class StreamingExpressAdapter extends ExpressAdapter {
  /** The open connections, if `forceCloseConnections` is set. */
  readonly #connections = new Set<Socket>();

  /**
   * @param instance an application of Express. Defaults to a new one
   * @throws {StreamError} `invalid-argument` for anything else
   */
  constructor(instance?: ExpressApplication) {
    super(expressApplication(instance));
  }

  /** Nest calls it to create the server. */
  override initHttpServer(options: NestApplicationOptions): void {
    const given: HttpsOptions | undefined = options?.httpsOptions;
    const app = this.getInstance<ExpressApplication>();
    // A constructor of the application's own may need the methods of its class, which are not in the chain of Express.
    const classes: ServerClasses = {
      IncomingMessage: given?.IncomingMessage ?? sharedClass(app, 'request', IncomingMessage),
      ServerResponse: given?.ServerResponse ?? sharedClass(app, 'response', ServerResponse),
    };
    if (given) {
      super.initHttpServer({ ...options, httpsOptions: { ...given, ...classes } });
    } else {
      // Nest passes no options to `createServer()`. Its server is replaced before it listens, and so it must not track connections.
      super.initHttpServer({ ...options, forceCloseConnections: false });
      this.httpServer = createServer(classes, this.getInstance());
      if (options?.forceCloseConnections) {
        this.#track(this.httpServer);
      }
    }
    if (!given?.IncomingMessage) {
      keepPlain(this.httpServer);
    }
  }

  /** Closes the server, and with `forceCloseConnections` all connections. */
  override close(): Promise<unknown> | undefined {
    for (const socket of this.#connections) {
      socket.destroy();
    }
    return super.close();
  }

  #track(server: Server): void {
    server.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.on('close', () => this.#connections.delete(socket));
    });
  }
}

function expressApplication(instance: ExpressApplication | undefined): ExpressApplication | undefined {
  if (
    instance === undefined ||
    (typeof instance === 'function' &&
      instance.request instanceof IncomingMessage &&
      instance.response instanceof ServerResponse)
  ) {
    return instance;
  }
  throw new StreamError(
    'invalid-argument',
    'new StreamingExpressAdapter(): the argument must be an application of Express, as express() returns it, or nothing. An application on Fastify needs ' +
      'new FastifyAdapter() of @nestjs/platform-fastify',
  );
}

/** Events of a server whose listeners take the place of Express. */
const PLAIN = new Set<string | symbol>(['upgrade', 'connect', 'checkContinue', 'checkExpectation']);

/**
 * Gives listeners for upgrades and for the header `Expect` requests without the prototype of Express, as Nest's adapter does. With it, they could not assign
 * `request.query`, for example, for which Express only has a getter.
 */
function keepPlain(server: Server): void {
  server.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    if (PLAIN.has(event)) {
      Object.setPrototypeOf(args[0], IncomingMessage.prototype);
    }
    // Tools that trace requests replace the method of the class, at any time.
    return Reflect.apply(Object.getPrototypeOf(server).emit, server, [event, ...args]);
  };
}
