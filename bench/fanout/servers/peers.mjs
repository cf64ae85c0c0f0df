import { createServer } from 'node:http';
import fastifySsePlugin from '@fastify/sse';
import { createChannel, createSession } from 'better-sse';
import Fastify from 'fastify';
import { Server as SocketIoServer } from 'socket.io';
import { WebSocketServer } from 'ws';

/** On `node:http`, with its channel. */
export function betterSse() {
  const channel = createChannel();
  const server = createServer(async (request, response) => {
    channel.register(await createSession(request, response));
  });
  return { server, publish: (/** @type {object} */ message) => channel.broadcast(message) };
}

/** It has no method for many clients at once, so `send()` is called for each. */
export async function fastifySse() {
  const replies = new Set();
  const fastify = Fastify();
  await fastify.register(fastifySsePlugin);
  fastify.get('/listen', { sse: { kind: 'only' } }, async (_request, reply) => {
    reply.sse.keepAlive();
    reply.sse.onClose(() => replies.delete(reply));
    // The head is not sent before the first event.
    await reply.sse.send({ data: 'hello' });
    replies.add(reply);
  });
  await fastify.ready();
  return {
    server: fastify.server,
    publish: (/** @type {object} */ data) => {
      for (const reply of replies) {
        reply.sse.send({ data }).catch(() => replies.delete(reply));
      }
    },
  };
}

/** One Buffer for all clients, and a frame around it for each client. */
export function ws() {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('error', () => socket.terminate()));
  return {
    server,
    publish: (/** @type {object} */ message) => {
      const bytes = Buffer.from(JSON.stringify(message));
      for (const socket of sockets.clients) {
        socket.send(bytes, { binary: false });
      }
    },
  };
}

export function socketIo() {
  const server = createServer();
  const sockets = new SocketIoServer(server);
  return { server, publish: (/** @type {object} */ message) => sockets.emit('message', message) };
}
