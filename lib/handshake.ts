import type { IncomingMessage } from 'node:http';

/** The subprotocol in which every message is a JSON object with the fields of an event. */
export const EVENTS_PROTOCOL = 'events.v1+json';
/** 16 bytes in base64 (RFC 6455 §4.1). */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** RFC 9110 §5.6.2 */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** Why a handshake is refused. */
export interface HandshakeProblem {
  readonly status: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Whether it is a request for a WebSocket; in HTTP/1.0 an upgrade is ignored (RFC 9110 §7.8). */
export function wantsWebSocket({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket' && httpVersion === '1.1';
}

/** What is wrong with the handshake of a client (RFC 6455 §4.2.1), if anything: also what `ws` would find later. */
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
    return { status: 400, message: 'Sec-WebSocket-Protocol must list each subprotocol once' };
  }
  return offered.length === 0 || offered.includes(EVENTS_PROTOCOL)
    ? undefined
    : { status: 400, message: `Unknown subprotocol: there is ${EVENTS_PROTOCOL}, or none` };
}

/** The subprotocol that is agreed upon. */
export function protocolOf({ headers }: IncomingMessage): string | undefined {
  return offeredProtocols(headers['sec-websocket-protocol'])?.find((each) => each === EVENTS_PROTOCOL);
}

function offeredProtocols(header: string | undefined): string[] | undefined {
  if (header === undefined) {
    return [];
  }
  const offered = header.split(',').map((each) => each.trim());
  return offered.every((each) => TOKEN.test(each)) && new Set(offered).size === offered.length ? offered : undefined;
}
