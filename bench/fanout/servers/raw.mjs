import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { TOPICS } from '../message.mjs';

/** The parts of HTTP and WebSocket that the load generator needs, on raw sockets: the lower limit. */

/** @typedef {{ head: (request: string) => string, frame: (message: object) => string }} Protocol of ASCII, but for the heads of frames */

const TEXT_FRAME = 0x81;
const LENGTH_16 = 126;
const BYTE = 8;

export const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n';

/** @param {object} message */
export const event = (message) => `data: ${JSON.stringify(message)}\n\n`;

/** @type {Protocol} */
const SSE = { head: () => `${HEAD}\r\n`, frame: event };

/** @type {Protocol} */
const WEBSOCKET = {
  head: (request) => {
    const key = /sec-websocket-key: (.*)\r\n/i.exec(request)?.[1];
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const answer = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`;
    return `${answer}Sec-WebSocket-Accept: ${accept}\r\n\r\n`;
  },
  // Messages are longer than 125 bytes, and shorter than 65,536.
  frame: (message) => {
    const text = JSON.stringify(message);
    return String.fromCharCode(TEXT_FRAME, LENGTH_16, text.length >> BYTE, text.length & 0xff) + text;
  },
};

/**
 * Without Nagle's algorithm, like the sockets of `node:http`. With it, a message waits up to 40 ms for the acknowledgement of the
 * one before, and several become one segment.
 * @param {(socket: import('node:net').Socket, request: string) => void} welcome
 * @param {(socket: import('node:net').Socket) => void} onClose
 */
export function listener(welcome, onClose) {
  return createServer({ noDelay: true }, (socket) => {
    socket.once('data', (request) => welcome(socket, request.latin1Slice()));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => onClose(socket));
  });
}

/** @param {Protocol} protocol */
function broadcaster({ head }) {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  const server = listener(
    (socket, request) => {
      socket.write(head(request));
      sockets.add(socket);
    },
    (socket) => sockets.delete(socket),
  );
  /** @param {string} text */
  const write = (text) => {
    const bytes = Buffer.from(text, 'latin1');
    for (const socket of sockets) {
      socket.write(bytes);
    }
  };
  return { server, write };
}

/**
 * Calls a function with all messages of one turn of the event loop.
 * @param {(text: string) => void} write
 * @param {(message: object) => string} frame
 */
export function gatherer(write, frame) {
  let text = '';
  const flush = () => {
    const gathered = text;
    text = '';
    write(gathered);
  };
  return (/** @type {object} */ message) => {
    if (text === '') {
      setImmediate(flush);
    }
    text += frame(message);
  };
}

/** One Buffer for all, a write for each message. @param {Protocol} protocol */
function writeEach(protocol) {
  const { server, write } = broadcaster(protocol);
  return { server, publish: (/** @type {object} */ message) => write(protocol.frame(message)) };
}

/** One Buffer for all clients, and one write for all messages of one turn of the event loop. @param {Protocol} protocol */
function writeGathered(protocol) {
  const { server, write } = broadcaster(protocol);
  return { server, publish: gatherer(write, protocol.frame) };
}

export const each = () => writeEach(SSE);
export const gathered = () => writeGathered(SSE);
export const webSocketEach = () => writeEach(WEBSOCKET);
export const webSocketGathered = () => writeGathered(WEBSOCKET);

/** Every client that connects receives all messages but the first one, from one Buffer. */
export function replayed() {
  /** @type {string[]} */
  const events = [];
  /** @type {Buffer | undefined} */
  let bytes;
  const server = listener(
    (socket) => {
      bytes ??= Buffer.from(events.slice(1).join(''), 'latin1');
      socket.write(SSE.head(''));
      socket.write(bytes);
    },
    () => undefined,
  );
  return { server, publish: (/** @type {object} */ message) => events.push(event(message)) };
}

/** Each message goes to one client, and to the next one after that. */
export function scattered() {
  /** @type {import('node:net').Socket[]} */
  const sockets = [];
  let joined = 0;
  let published = 0;
  const server = listener(
    (socket) => {
      socket.write(SSE.head(''));
      sockets[joined++ % TOPICS] = socket;
    },
    () => undefined,
  );
  return {
    server,
    publish: (/** @type {object} */ message) => sockets[published++ % TOPICS].write(event(message), 'latin1'),
  };
}
