import { createServer } from 'node:net';

/** HTTP as far as the load generator needs it, on bare sockets: the floor. */

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n';

/** @param {object} message */
const frame = (message) => `data: ${JSON.stringify(message)}\n\n`;

/**
 * Without Nagle's algorithm, as the sockets of `node:http` are: with it a message waits up to 40 ms for the acknowledgement of the
 * one before, and several become one segment.
 * @param {Set<import('node:net').Socket>} sockets
 */
function listener(sockets) {
  return createServer({ noDelay: true }, (socket) => {
    socket.once('data', () => {
      socket.write(HEAD);
      sockets.add(socket);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
}

/** One Buffer for all, a write for each message. */
export function each() {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  return {
    server: listener(sockets),
    /** @param {object} message */
    publish: (message) => {
      const bytes = Buffer.from(frame(message));
      for (const socket of sockets) {
        socket.write(bytes);
      }
    },
  };
}

/** One Buffer for all, a write for what was published in one turn of the event loop. */
export function gathered() {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  let text = '';
  const flush = () => {
    const bytes = Buffer.from(text);
    text = '';
    for (const socket of sockets) {
      socket.write(bytes);
    }
  };
  return {
    server: listener(sockets),
    /** @param {object} message */
    publish: (message) => {
      if (text === '') {
        setImmediate(flush);
      }
      text += frame(message);
    },
  };
}
