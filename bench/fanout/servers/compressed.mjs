import { createServer } from 'node:http';
import { constants, createGzip, deflateRawSync } from 'node:zlib';
import compression from 'compression';
import express from 'express';
import { event, gatherer, HEAD, listener } from './raw.mjs';

/** Server-Sent Events with gzip, flushed so that no event waits. All use the default level of zlib. */

const GZIP_HEAD = `${HEAD}Content-Encoding: gzip\r\n\r\n`;
/** A gzip header without a name and a time, of an unknown system. */
const GZIP_MAGIC = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/** A gzip stream for each client, flushed once for all messages of one turn of the event loop. */
export function streamEach() {
  /** @type {Map<import('node:net').Socket, import('node:zlib').Gzip>} */
  const streams = new Map();
  const server = listener(
    (socket) => {
      socket.write(GZIP_HEAD);
      const gzip = createGzip();
      gzip.pipe(socket);
      streams.set(socket, gzip);
    },
    (socket) => {
      streams.get(socket)?.destroy();
      streams.delete(socket);
    },
  );
  /** @param {string} text */
  const write = (text) => {
    const bytes = Buffer.from(text);
    for (const gzip of streams.values()) {
      gzip.write(bytes);
      gzip.flush(constants.Z_SYNC_FLUSH);
    }
  };
  return { server, publish: gatherer(write, event) };
}

/** One independent block for all clients, with all messages of one turn of the event loop. */
export function sharedBlock() {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  const server = listener(
    (socket) => {
      socket.write(GZIP_HEAD);
      socket.write(GZIP_MAGIC);
      sockets.add(socket);
    },
    (socket) => sockets.delete(socket),
  );
  /** @param {string} text */
  const write = (text) => {
    const block = deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH });
    for (const socket of sockets) {
      socket.write(block);
    }
  };
  return { server, publish: gatherer(write, event) };
}

/** `compression`, flushed after each event, as its documentation recommends. */
export function expressCompression() {
  /** @type {Set<express.Response>} */
  const responses = new Set();
  const app = express();
  app.use(compression());
  app.get('/listen', (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    // Without a first write, it does not send the head.
    response.write(':\n\n');
    response.flush();
    responses.add(response);
    response.on('close', () => responses.delete(response));
  });
  return {
    server: createServer(app),
    publish: (/** @type {object} */ message) => {
      const text = event(message);
      for (const response of responses) {
        response.write(text);
        response.flush();
      }
    },
  };
}
