import { createServer as createHttpServer } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { writeAsync, writeSync } from './gathered.mjs';
import { countOf, frame, SSE_HEADERS, texts, textsSync } from './payload.mjs';

const HEAD = `HTTP/1.1 200 OK\r\nConnection: close\r\n${Object.entries(SSE_HEADERS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')}\r\n`;

/**
 * Responds to a request; `/idle` stays open.
 * @param {string} url
 * @param {import('./gathered.mjs').Sink} sink
 */
function answer(url, sink) {
  if (url.startsWith('/sync')) {
    writeSync(textsSync(countOf(url)), frame, sink);
  } else if (!url.startsWith('/idle')) {
    writeAsync(texts(countOf(url)), frame, sink);
  }
}

/** The parts of HTTP that the load generator needs, on a raw socket: the lower limit. */
export function net() {
  return createNetServer((socket) => {
    socket.once('data', (request) => {
      const head = request.toString('latin1');
      socket.write(HEAD);
      answer(head.slice(head.indexOf('/'), head.indexOf(' HTTP')), socket);
    });
    socket.on('error', () => socket.destroy());
  });
}

export function http() {
  return createHttpServer((request, response) => {
    response.writeHead(200, SSE_HEADERS);
    if (request.url?.startsWith('/idle')) {
      response.flushHeaders();
    }
    answer(request.url ?? '/', response);
  });
}
