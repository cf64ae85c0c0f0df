import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { endSoon } from '../linger.js';
import type { OutgoingHeaders } from '../transport.js';
import type { WebSocketLike, WebSocketServerLike } from './ws.js';

/** How many bytes a client may send before its upgrade is answered. It should send none (RFC 6455 §4.1). */
const MAX_EARLY_BYTES = 65_536;
/** The number of bytes that each piece of them counts in addition, for its object in memory. */
const PIECE_BYTES = 512;
/** How long a refused client may take to close its side, in milliseconds. */
const REFUSAL_CLOSE_TIMEOUT_MS = 1_000;
/** A response with this status, or a greater one, refuses an upgrade or redirects the client. */
const FIRST_REFUSAL_STATUS = 300;
/** Headers of an HTTP response that are not sent with an accepted upgrade, and those that `ws` sends itself. */
const NOT_OF_AN_UPGRADE =
  /^(?:connection|upgrade|keep-alive|transfer-encoding|trailer|date|etag|vary|sec-websocket-.*|content-(?:type|length|encoding|range))$/;

const upgrades = new WeakMap<ServerResponse, Upgrade>();

/** Returns the upgrade that a response belongs to, or `undefined` if the request is no upgrade. */
export function upgradeOf(response: ServerResponse): Upgrade | undefined {
  return upgrades.get(response);
}

/**
 * A request for an upgrade, which passes through the application like any other request. Until the upgrade is accepted, the application may
 * send a normal response. That refuses the upgrade and ends the connection.
 */
export class Upgrade {
  readonly response: ServerResponse;
  private readonly early: Buffer[];
  private earlyBytes: number;

  /**
   * @param protocol the selected subprotocol, if any
   * @throws when an earlier response on the connection is not finished
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
    // Node.js has removed its own listeners from the socket.
    socket.on('error', this.onError);
    socket.on('data', this.onEarly);
    socket.on('end', this.onEnd);
    socket.on('drain', this.onDrain);
    // Not once(): its wrapper of the listener would take memory as long as the socket lives.
    socket.on('close', () => this.onClose());
    this.response.on('finish', () => this.onRefused());
  }

  /**
   * Accepts the upgrade, and returns the WebSocket. Returns `undefined` if the client is disconnected or other code has responded. If the
   * application has set a status of 300 or more, the upgrade is refused with that status, and the result is `undefined` too.
   */
  accept(headers: OutgoingHeaders): WebSocketLike | undefined {
    const { request, response, server, socket } = this;
    if (response.headersSent) {
      response.end();
      return undefined;
    }
    if (response.statusCode >= FIRST_REFUSAL_STATUS) {
      this.refuseAsSet(headers);
      return undefined;
    }
    let accepted: WebSocketLike | undefined;
    this.release();
    // Bytes that other code still writes to the response must not be sent between frames.
    response.detachSocket(socket);
    response.sendDate = false;
    // This head is not sent. But middleware, such as that of sessions, adds its headers now, and `headersSent` becomes true for other code.
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

  /** Refuses the upgrade with a response that the application does not see. */
  refuse(status: number, message: string, headers: Readonly<Record<string, string>> = {}): void {
    const body = JSON.stringify({ statusCode: status, message });
    this.response.writeHead(status, {
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      ...headers,
    });
    this.response.end(body);
  }

  /** Refuses the upgrade with the status and the headers that the stream has set. */
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

  /** The socket has to be read to notice that the client disconnects. */
  private readonly onEarly = (data: Buffer): void => {
    this.early.push(data);
    this.earlyBytes += data.length + PIECE_BYTES;
    if (this.earlyBytes > MAX_EARLY_BYTES) {
      this.socket.destroy();
    }
  };

  /** Node.js does the same if a client ends its side before it receives a response. */
  private readonly onEnd = (): void => {
    this.socket.destroy();
  };

  private readonly onDrain = (): void => {
    this.response.emit('drain');
  };

  private onRefused(): void {
    this.early.length = 0;
    // Node.js does the same. Otherwise the request would count as aborted.
    this.request.resume();
    this.socket.off('data', this.onEarly);
    this.socket.off('end', this.onEnd);
    endSoon(this.socket, REFUSAL_CLOSE_TIMEOUT_MS);
  }

  private onClose(): void {
    if (this.response.socket === null) {
      // Node.js emits the event only on a response with a socket.
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

/** Returns the headers that the application and its middleware have set: CORS, cookies, … `late` replaces those that are set on the response. */
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
