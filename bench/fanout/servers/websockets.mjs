import { createServer } from 'node:http';
import { Sender, WebSocketServer } from 'ws';

/** Ways to broadcast with ws alone. */

const TEXT = 1;

function start() {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('error', () => socket.terminate()));
  return { server, sockets };
}

/** @param {object} message */
const frameOf = (message) =>
  Buffer.concat(
    Sender.frame(Buffer.from(JSON.stringify(message)), {
      fin: true,
      opcode: TEXT,
      mask: false,
      readOnly: true,
      rsv1: false,
    }),
  );

/**
 * Writes to the underlying sockets, because ws has no public API for that.
 * @param {WebSocketServer} sockets
 * @param {Buffer} bytes
 */
function writeToAll(sockets, bytes) {
  for (const socket of sockets.clients) {
    socket._socket.write(bytes);
  }
}

/** As in the documentation of ws: each client encodes the text, and frames it. */
export function sendString() {
  const { server, sockets } = start();
  return {
    server,
    publish: (/** @type {object} */ message) => {
      const text = JSON.stringify(message);
      for (const socket of sockets.clients) {
        socket.send(text);
      }
    },
  };
}

/** One frame for all clients, and a write for each message. */
export function sharedFrame() {
  const { server, sockets } = start();
  return { server, publish: (/** @type {object} */ message) => writeToAll(sockets, frameOf(message)) };
}

/** One frame for all clients, and one write for all messages of one turn of the event loop. */
export function sharedFrameGathered() {
  const { server, sockets } = start();
  /** @type {Buffer[]} */
  let frames = [];
  const flush = () => {
    const bytes = Buffer.concat(frames);
    frames = [];
    writeToAll(sockets, bytes);
  };
  return {
    server,
    publish: (/** @type {object} */ message) => {
      if (frames.length === 0) {
        setImmediate(flush);
      }
      frames.push(frameOf(message));
    },
  };
}
