import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { endSoon } from '../linger.js';
import type { OutgoingHeaders } from '../transport.js';
import type { WebSocketLike, WebSocketServerLike } from './ws.js';

/** A client may send nothing before it is answered (RFC 6455 §4.1): this much is kept of one that does, … */
const EARLY_BYTES = 65_536;
/** … where each piece that is read counts for no less than it costs. */
const PIECE_BYTES = 512;
/** How long a refused client may take to close its side, in milliseconds. */
const REFUSAL_CLOSE_TIMEOUT_MS = 1_000;
/** From this status on a response refuses an upgrade, or sends its client elsewhere. */
const NO_SUCCESS = 300;
/** What belongs to an HTTP answer only, or to the handshake itself. */
const NOT_OF_AN_UPGRADE =
  /^(?:connection|upgrade|keep-alive|transfer-encoding|trailer|date|etag|vary|sec-websocket-.*|content-(?:type|length|encoding|range))$/;

const upgrades = new WeakMap<ServerResponse, Upgrade>();

/** The upgrade a response would refuse, if it is one. */
export function upgradeOf(response: ServerResponse): Upgrade | undefined {
  return upgrades.get(response);
}

/**
 * A request for an upgrade, on its way through the application. Its response answers as any other as long as the upgrade is not
 * accepted: that is a refusal, and the end of the connection.
 */
export class Upgrade {
  readonly response: ServerResponse;
  private readonly early: Buffer[];
  private earlyBytes: number;

  /**
   * @param protocol the subprotocol that was agreed upon, if any
   * @throws when an earlier response on the connection is still under way
   */
  constructor(
    readonly request: IncomingMessage,
    readonly socket: Socket,
    head: Buffer,
    private readonly server: WebSocketServerLike,
    readonly protocol?: string,
  ) {
    this.early = [head];
    this.earlyBytes = head.length;
    this.response = new ServerResponse(request);
    this.response.shouldKeepAlive = false;
    this.response.assignSocket(socket);
    upgrades.set(this.response, this);
    // Node.js has taken all of its own listeners off the socket.
    socket.on('error', this.onError);
    socket.on('data', this.onEarly);
    socket.on('end', this.onEnd);
    socket.on('drain', this.onDrain);
    // Not once(): what that makes of a listener lives as long as the socket, too.
    socket.on('close', () => this.onClose());
    this.response.on('finish', () => this.onRefused());
  }

  /**
   * Becomes a WebSocket. Returns `undefined` if the client has left, if somebody else has answered it, or if the response has a status of its own that
   * is no success: then that is the answer, as there is no status once an upgrade has been accepted.
   */
  accept(headers: OutgoingHeaders): WebSocketLike | undefined {
    const { request, response, server, socket } = this;
    if (response.headersSent) {
      response.end();
      return undefined;
    }
    if (response.statusCode >= NO_SUCCESS) {
      this.refuseAsSet(headers);
      return undefined;
    }
    let accepted: WebSocketLike | undefined;
    this.release();
    // Nothing that somebody still writes to it may get among the frames.
    response.detachSocket(socket);
    response.sendDate = false;
    // Nobody is sent it. Sessions and the like add their headers now, and whoever would answer knows that it is too late.
    response.writeHead(101);
    const lines = headerLines(response, headers);
    const add = (own: string[]): void => void own.push(...lines);
    server.once('headers', add);
    server.handleUpgrade(request, socket, Buffer.concat(this.early.splice(0)), (webSocket) => {
      accepted = webSocket;
    });
    server.off('headers', add);
    socket.off('error', this.onError);
    return accepted;
  }

  /** Answers by itself. */
  refuse(status: number, message: string, headers: Readonly<Record<string, string>> = {}): void {
    const body = JSON.stringify({ statusCode: status, message });
    this.response.writeHead(status, {
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      ...headers,
    });
    this.response.end(body);
  }

  /** Refuses with the status and the headers that the stream has set. */
  private refuseAsSet(headers: OutgoingHeaders): void {
    const { response } = this;
    for (let i = 0; i < headers.length; i += 2) {
      response.setHeader(String(headers[i]), headers[i + 1] as string);
    }
    for (const name of response.getHeaderNames().filter((each) => each.startsWith('content-'))) {
      response.removeHeader(name);
    }
    this.refuse(response.statusCode, STATUS_CODES[response.statusCode] ?? 'Refused');
  }

  private readonly onError = (): void => {
    this.socket.destroy();
  };

  /** To notice that the client leaves, it has to be read from. */
  private readonly onEarly = (data: Buffer): void => {
    this.early.push(data);
    this.earlyBytes += data.length + PIECE_BYTES;
    if (this.earlyBytes > EARLY_BYTES) {
      this.socket.destroy();
    }
  };

  /** As Node.js does with a client that ends its side before it is answered. */
  private readonly onEnd = (): void => {
    this.socket.destroy();
  };

  private readonly onDrain = (): void => {
    this.response.emit('drain');
  };

  private onRefused(): void {
    this.early.length = 0;
    // As Node.js does: it would count as aborted.
    this.request.resume();
    this.socket.off('data', this.onEarly);
    this.socket.off('end', this.onEnd);
    endSoon(this.socket, REFUSAL_CLOSE_TIMEOUT_MS);
  }

  private onClose(): void {
    if (this.response.socket === null) {
      // As it would have been told with its socket.
      this.response.emit('close');
    }
    this.request.destroy();
  }

  private release(): void {
    const { socket } = this;
    socket.off('data', this.onEarly);
    socket.off('end', this.onEnd);
    socket.off('drain', this.onDrain);
  }
}

/** What the application and its middleware have set: CORS, cookies, … What the response does not know yet replaces what it does. */
function headerLines(response: ServerResponse, late: OutgoingHeaders): string[] {
  const headers = new Map<string, OutgoingHeaders[number]>();
  for (const [name, value] of Object.entries(response.getHeaders())) {
    headers.set(name, value ?? '');
  }
  for (let i = 0; i < late.length; i += 2) {
    headers.set(String(late[i]).toLowerCase(), late[i + 1] ?? '');
  }
  return [...headers]
    .filter(([name]) => !NOT_OF_AN_UPGRADE.test(name))
    .flatMap(([name, value]) => [value].flat().map((each) => `${name}: ${String(each)}`));
}
