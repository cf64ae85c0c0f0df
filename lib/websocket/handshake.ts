import type { IncomingMessage } from 'node:http';
import { idInUrl } from '../platform/last-event-id.js';
import { EVENTS_PROTOCOL } from '../transport/websocket/close-codes.js';

/**
 * A subprotocol that a client offers beside {@link EVENTS_PROTOCOL}, and that is never selected: the client wants heartbeats as messages. Browsers do not show
 * pings to scripts.
 */
const HEARTBEATS_PROTOCOL = 'heartbeats';
/** A subprotocol with this prefix contains the id of the last event that the client has received, percent-encoded. */
const ID_PREFIX = 'last-event-id.';
/** 16 bytes in base64 (RFC 6455 §4.1). */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** The maximum number of subprotocols that a client may offer. Only three exist. */
const MOST_PROTOCOLS = 16;
/** RFC 9110 §5.6.2 */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** Why a handshake is refused. */
export interface HandshakeProblem {
  readonly status: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Returns whether a request asks for an upgrade to WebSocket. In HTTP/1.0, `Upgrade` is ignored (RFC 9110 §7.8). */
export function wantsWebSocket({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket' && httpVersion === '1.1';
}

/** Returns what is wrong with the handshake of a client (RFC 6455 §4.2.1), or `undefined`. It includes the checks that `ws` would make later. */
export function handshakeProblem({ method, headers }: IncomingMessage): HandshakeProblem | undefined {
  if (method !== 'GET') {
    return { status: 405, message: 'A WebSocket is opened with GET', headers: { Allow: 'GET' } };
  }
  if (headers['sec-websocket-version'] !== '13') {
    return {
      status: 426,
      message: 'Sec-WebSocket-Version must be 13',
      headers: { 'Sec-WebSocket-Version': '13', Upgrade: 'websocket', Connection: 'Upgrade, close' },
    };
  }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) {
    return { status: 400, message: 'Sec-WebSocket-Key must be 16 bytes in base64' };
  }
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) {
    return { status: 400, message: 'A request for a WebSocket has no body' };
  }
  const offered = offeredProtocols(headers['sec-websocket-protocol']);
  if (!offered) {
    return {
      status: 400,
      message: `Sec-WebSocket-Protocol must list each subprotocol once, and at most ${MOST_PROTOCOLS}`,
    };
  }
  return protocolProblem(offered);
}

/** Returns what is wrong with the subprotocols that a client offers, or `undefined`. */
function protocolProblem(offered: readonly string[]): HandshakeProblem | undefined {
  const ids = offered.filter((each) => each.startsWith(ID_PREFIX));
  if (offered.length > ids.length && !offered.includes(EVENTS_PROTOCOL)) {
    return { status: 400, message: `Unknown subprotocol: there is ${EVENTS_PROTOCOL}, or none` };
  }
  return ids.length > 1 || ids.some((id) => decodedId(id) === undefined)
    ? { status: 400, message: `${ID_PREFIX}<id> must be offered once, with a percent-encoded id` }
    : undefined;
}

/**
 * Returns the subprotocol of the response. If a browser has offered subprotocols and the server selects none, the browser fails the
 * connection. So if an id is the only one that is offered, it is selected.
 */
export function protocolOf({ headers }: IncomingMessage): string | undefined {
  const offered = offeredProtocols(headers['sec-websocket-protocol']) ?? [];
  return offered.find((each) => each === EVENTS_PROTOCOL) ?? offered[0];
}

/** Returns whether a client wants heartbeats as messages. */
export function wantsHeartbeats({ headers }: IncomingMessage): boolean {
  return offeredProtocols(headers['sec-websocket-protocol'])?.includes(HEARTBEATS_PROTOCOL) === true;
}

/** Returns the id after which a client resumes, from its subprotocols or else from its URL: browsers cannot set headers for a WebSocket. */
export function requestedId(request: IncomingMessage): string | undefined {
  const offered = offeredProtocols(request.headers['sec-websocket-protocol'])?.find((each) =>
    each.startsWith(ID_PREFIX),
  );
  const id = offered === undefined ? undefined : decodedId(offered);
  return id || idInUrl(request);
}

function decodedId(protocol: string): string | undefined {
  try {
    return decodeURIComponent(protocol.slice(ID_PREFIX.length));
  } catch {
    // A percent-encoding is malformed, or is not valid UTF-8.
    return undefined;
  }
}

function offeredProtocols(header: string | undefined): string[] | undefined {
  if (header === undefined) {
    return [];
  }
  const offered = header.split(',', MOST_PROTOCOLS + 1).map((each) => each.trim());
  return offered.length <= MOST_PROTOCOLS &&
    offered.every((each) => TOKEN.test(each)) &&
    new Set(offered).size === offered.length
    ? offered
    : undefined;
}
