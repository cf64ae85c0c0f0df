import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { pathOf } from '../platform/path-matcher.js';
import { Upgrade } from '../transport/websocket/upgrade.js';
import type { WebSocketServerLike } from '../transport/websocket/ws.js';
import { atMost } from '../util/at-most.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { type HandshakeProblem, handshakeProblem, protocolOf, wantsWebSocket } from './handshake.js';

/** How long others who listen for upgrades may leave one alone before it is refused, in milliseconds. */
const UNCLAIMED_UPGRADE_TIMEOUT_MS = 3_000;
/** How long closed WebSockets may take to be gone when the application ends, in milliseconds. */
const FORCE_WEBSOCKETS_CLOSED_AFTER_MS = 1_000;

interface GateParts {
  readonly server: Server;
  readonly webSockets: WebSocketServerLike;
  readonly logger: StreamLogger;
  /** Whether a path may be one of ours. */
  readonly isOurs: (path: string) => boolean;
  /** The application, as its server calls it. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

type UpgradeArguments = [request: IncomingMessage, socket: Socket, head: Buffer];

/** Stands before all who listen for the upgrades of a server: gives ours to the application, and leaves the others alone. */
export class UpgradeGate {
  private readonly sockets = new Set<Socket>();

  constructor(private readonly parts: GateParts) {}

  open(): void {
    const { server } = this.parts;
    const { emit } = server;
    // Listeners cannot be kept from an event, and some destroy every upgrade they do not know.
    server.emit = (event: string | symbol, ...args: unknown[]): boolean =>
      (event === 'upgrade' && this.take(...(args as UpgradeArguments))) ||
      Reflect.apply(emit, server, [event, ...args]);
    // Without a listener, Node.js would not tell of upgrades.
    server.on('upgrade', this.onOther);
  }

  /** Ends what is left of upgrades, after it had time to end by itself. */
  async close(): Promise<void> {
    const { sockets } = this;
    const gone = [...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    if (await atMost(FORCE_WEBSOCKETS_CLOSED_AFTER_MS, Promise.all(gone))) {
      return;
    }
    this.parts.logger.warn(
      `${sockets.size} connections of WebSockets were dropped, which were not closed within ${FORCE_WEBSOCKETS_CLOSED_AFTER_MS} ms`,
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

  /** Called with others who listen, for what is not ours. */
  private readonly onOther = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    if (this.parts.server.listeners('upgrade').some((each) => each !== this.onOther)) {
      this.watch(request, socket);
    } else if (wantsWebSocket(request)) {
      this.notFound(request, socket, head);
    } else {
      this.serveOrdinarily(request, socket, head);
    }
  };

  /** Refuses what nobody else has taken: it would hang forever. */
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
   * Serves a request for another upgrade as Node.js does when nobody listens for upgrades: as one that has not asked for it
   * (RFC 9110 §7.8). The server reads it again, without the header.
   */
  private serveOrdinarily(request: IncomingMessage, socket: Socket, head: Buffer): void {
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

  /** The connection is of no use any more: responses to earlier requests are still to be sent on it. */
  private drop(socket: Socket, error: unknown): void {
    this.parts.logger.error(
      'An upgrade was refused by closing its connection, on which a response was under way',
      error,
    );
    socket.destroy();
  }
}

function refuse(upgrade: Upgrade, { status, message, headers }: HandshakeProblem): void {
  upgrade.refuse(status, message, headers);
}

/** The head of a request as it came, without what asks for an upgrade. */
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
