import { createServer } from 'node:http';
import { Sender, WebSocketServer } from 'ws';

/** What one may do with bare ws. */

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
 * To the sockets below, behind the back of ws: it has nothing public for that.
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

/** One frame for all, a write for each message. */
export function sharedFrame() {
  const { server, sockets } = start();
  return { server, publish: (/** @type {object} */ message) => writeToAll(sockets, frameOf(message)) };
}

/** One frame for all, a write for what was published in one turn of the event loop. */
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
