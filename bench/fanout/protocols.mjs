import { maskedFrame, TEXT } from './frames.mjs';

/** How a client of the load generator connects: only what a server requires. */

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`;
/** Joins the main namespace of socket.io. */
const SOCKET_IO_JOIN = maskedFrame(TEXT, Buffer.from('40'));
const SOCKET_IO_PING = '2';
const SOCKET_IO_PONG = maskedFrame(TEXT, Buffer.from('3'));

/**
 * @typedef {object} Protocol
 * @property {(path: string) => string} request
 * @property {RegExp} welcome matches the beginning of the first read if the client is accepted
 * @property {(text: string, socket: import('node:net').Socket, path: string) => boolean} isIn called for each read until it returns `true`, when the client is connected
 * @property {'marks' | 'frames' | 'gzip'} counts how its messages are counted
 * @property {(opcode: number, payload: Buffer) => Buffer | undefined} [answer] to a short frame
 */

const isIn = () => true;
const OK = /^HTTP\/1\.1 200 /;
const COMPRESSED = /^HTTP\/1\.1 200 .*\r\ncontent-encoding: gzip\r\n/is;
const UPGRADED = /^HTTP\/1\.1 101 /;

/** @param {string} path @param {string} [more] */
const get = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n${more}\r\n`;

/** @param {string} path */
const upgrade = (path) => `GET ${path} HTTP/1.1\r\nHost: bench\r\n${UPGRADE}`;

/** @type {Record<'sse' | 'sseOnKeptAlive' | 'gzip' | 'ws' | 'socketIo', Protocol>} */
export const PROTOCOLS = {
  sse: { request: (path) => get(path), welcome: OK, isIn, counts: 'marks' },
  // nginx turns Nagle's algorithm off only when a connection is reused.
  sseOnKeptAlive: {
    request: () => get('/hello'),
    welcome: /^HTTP\/1\.1 204 /,
    isIn: (text, socket, path) => {
      const isHello = text.includes(' 204 ');
      if (isHello) {
        socket.write(get(path));
      }
      return !isHello;
    },
    counts: 'marks',
  },
  gzip: { request: (path) => get(path, 'Accept-Encoding: gzip\r\n'), welcome: COMPRESSED, isIn, counts: 'gzip' },
  ws: { request: upgrade, welcome: UPGRADED, isIn, counts: 'frames' },
  socketIo: {
    request: upgrade,
    welcome: UPGRADED,
    isIn: (text, socket) => {
      if (text.includes('"upgrades"')) {
        socket.write(SOCKET_IO_JOIN);
      }
      return text.includes('40{');
    },
    counts: 'frames',
    answer: (opcode, payload) =>
      opcode === TEXT && payload.latin1Slice() === SOCKET_IO_PING ? SOCKET_IO_PONG : undefined,
  },
};
