import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { pathOf } from '../platform/path-matcher.js';
import { Upgrade } from '../transport/websocket/upgrade.js';
import type { WebSocketServerLike } from '../transport/websocket/ws.js';
import { atMost } from '../util/at-most.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { type HandshakeProblem, handshakeProblem, protocolOf, wantsWebSocket } from './handshake.js';

/** How long other listeners may leave an upgrade unanswered before it is refused, in milliseconds. */
const UNCLAIMED_UPGRADE_TIMEOUT_MS = 3_000;
/** How long WebSockets may take to close when the application closes, in milliseconds. */
const FORCE_WEBSOCKETS_CLOSED_AFTER_MS = 1_000;

interface GateParts {
  readonly server: Server;
  readonly webSockets: WebSocketServerLike;
  readonly logger: StreamLogger;
  /** Returns whether a path may be that of a stream route. */
  readonly isOurs: (path: string) => boolean;
  /** Calls the application, as its server does. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

type UpgradeArguments = [request: IncomingMessage, socket: Socket, head: Buffer];

/** Handles the upgrades of a server before its listeners. Upgrades of stream routes are passed to the application, all others to the listeners. */
export class UpgradeGate {
  private readonly sockets = new Set<Socket>();

  constructor(private readonly parts: GateParts) {}

  open(): void {
    const { server } = this.parts;
    const { emit } = server;
    // emit() is replaced, as a listener cannot stop an event. Other listeners may destroy the socket of every upgrade that they do not know.
    server.emit = (event: string | symbol, ...args: unknown[]): boolean =>
      (event === 'upgrade' && this.take(...(args as UpgradeArguments))) ||
      Reflect.apply(emit, server, [event, ...args]);
    // Without a listener, Node.js does not emit the event.
    server.on('upgrade', this.onOther);
  }

  /** Waits for the sockets of upgrades to close, and destroys those that are still open after a time. */
  async close(): Promise<void> {
    const { sockets } = this;
    const gone = [...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    if (await atMost(FORCE_WEBSOCKETS_CLOSED_AFTER_MS, Promise.all(gone))) {
      return;
    }
    this.parts.logger.warn(
      `${sockets.size} WebSocket connections were dropped because they did not close within ${FORCE_WEBSOCKETS_CLOSED_AFTER_MS} ms`,
    );
    for (const socket of sockets) {
      socket.destroy();
    }
  }

  private take(request: IncomingMessage, socket: Socket, head: Buffer): boolean {
    if (!wantsWebSocket(request) || !this.parts.isOurs(pathOf(request.url))) {
      return false;
    }
    const problem = handshakeProblem(request);
    this.begin(request, socket, head, (upgrade) =>
      problem ? refuse(upgrade, problem) : this.parts.handle(request, upgrade.response),
    );
    return true;
  }

  /** A listener for the upgrades that do not belong to stream routes. */
  private readonly onOther = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    if (this.parts.server.listeners('upgrade').some((each) => each !== this.onOther)) {
      this.watch(request, socket);
    } else if (wantsWebSocket(request)) {
      this.notFound(request, socket, head);
    } else {
      this.serveWithoutUpgrade(request, socket, head);
    }
  };

  /** Refuses an upgrade if no other listener has accepted it after a time. It would never get a response otherwise. */
  private watch(request: IncomingMessage, socket: Socket): void {
    const written = socket.bytesWritten;
    const timer = setTimeout(() => {
      const heard = socket.listenerCount('data') > 0 || socket.listenerCount('readable') > 0;
      if (!heard && !socket.destroyed && socket.writable && socket.bytesWritten === written) {
        this.notFound(request, socket, Buffer.alloc(0));
      }
    }, UNCLAIMED_UPGRADE_TIMEOUT_MS).unref();
    socket.once('close', () => clearTimeout(timer));
  }

  private notFound(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const problem = { status: 404, message: `There is no WebSocket at ${pathOf(request.url)}` };
    this.begin(request, socket, head, (upgrade) => refuse(upgrade, problem));
  }

  private begin(request: IncomingMessage, socket: Socket, head: Buffer, run: (upgrade: Upgrade) => void): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    try {
      run(new Upgrade(request, socket, head, this.parts.webSockets, protocolOf(request)));
    } catch (error) {
      this.drop(socket, error);
    }
  }

  /**
   * Serves a request for an upgrade to another protocol as a normal request, as Node.js does without listeners (RFC 9110 §7.8). The server
   * parses the request again, without the header `Upgrade`.
   */
  private serveWithoutUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { server } = this.parts;
    try {
      const probe = new ServerResponse(request);
      probe.assignSocket(socket);
      probe.detachSocket(socket);
    } catch (error) {
      this.drop(socket, error);
      return;
    }
    socket.unshift(Buffer.concat([headOf(request), head]));
    server.emit(server instanceof TlsServer ? 'secureConnection' : 'connection', socket);
  }

  /** Closes a connection on which responses to earlier requests are not finished: the upgrade cannot be answered. */
  private drop(socket: Socket, error: unknown): void {
    this.parts.logger.error(
      'An upgrade was refused by closing its connection, on which an earlier response was not finished',
      error,
    );
    socket.destroy();
  }
}

function refuse(upgrade: Upgrade, { status, message, headers }: HandshakeProblem): void {
  upgrade.refuse(status, message, headers);
}

/** Returns the head of a request as it was received, without the headers that ask for an upgrade. */
function headOf({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    if (name.toLowerCase() === 'connection') {
      const options = value.split(',').filter((option) => option.trim().toLowerCase() !== 'upgrade');
      lines.push(...(options.length > 0 ? [`${name}: ${options.join(',')}`] : []));
    } else if (name.toLowerCase() !== 'upgrade') {
      lines.push(`${name}: ${value}`);
    }
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
