import { createServer } from 'node:http';
import fastifySsePlugin from '@fastify/sse';
import { getRequestListener } from '@hono/node-server';
import { createSession } from 'better-sse';
import Fastify from 'fastify';
import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { countOf, texts } from './payload.mjs';

/** On `node:http`. It has no backpressure: a fast stream waits in memory. */
export function betterSse() {
  return createServer(async (request, response) => {
    const session = await createSession(request, response, { serializer: String });
    if (!request.url?.startsWith('/idle')) {
      await session.iterate(texts(countOf(request.url ?? '')));
      response.end();
    }
  });
}

export async function fastifySse() {
  const fastify = Fastify();
  await fastify.register(fastifySsePlugin, { serializer: String });
  fastify.get('/async/:count', { sse: { kind: 'only' } }, async (request, reply) => {
    await reply.sse.send(texts(countOf(request.url)));
  });
  await fastify.ready();
  return fastify.server;
}

export function hono() {
  const app = new Hono();
  app.get('/async/:count', (context) =>
    streamSSE(context, async (stream) => {
      for await (const data of texts(countOf(context.req.path))) {
        await stream.writeSSE({ data });
      }
    }),
  );
  return createServer(getRequestListener(app.fetch));
}
