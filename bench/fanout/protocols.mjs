/** How a client of the load generator gets in, as little of it as a server needs. */

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`;
/** A masked text frame of `40`: joins the main namespace. */
const SOCKET_IO_JOIN = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x34, 0x30]);

/**
 * @typedef {object} Protocol
 * @property {(path: string) => string} request
 * @property {(text: string, socket: import('node:net').Socket, path: string) => boolean} isIn told of each read until it says so
 */

/** @param {string} path */
const get = (path) => `GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n`;

/** @type {Record<'sse' | 'sseOnKeptAlive' | 'ws' | 'socketIo', Protocol>} */
export const PROTOCOLS = {
  sse: { request: get, isIn: () => true },
  // nginx turns Nagle's algorithm off when a connection is used again, and leaves it on until then.
  sseOnKeptAlive: {
    request: () => get('/hello'),
    isIn: (text, socket, path) => {
      const isHello = text.includes(' 204 ');
      if (isHello) {
        socket.write(get(path));
      }
      return !isHello;
    },
  },
  ws: {
    request: (path) => `GET ${path} HTTP/1.1\r\nHost: bench\r\n${UPGRADE}`,
    isIn: () => true,
  },
  socketIo: {
    request: (path) => `GET ${path} HTTP/1.1\r\nHost: bench\r\n${UPGRADE}`,
    isIn: (text, socket) => {
      if (text.includes('"upgrades"')) {
        socket.write(SOCKET_IO_JOIN);
      }
      return text.includes('40{');
    },
  },
};
