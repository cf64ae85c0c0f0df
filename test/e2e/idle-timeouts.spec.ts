import type { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Controller, Get, type INestApplication } from '@nestjs/common';
import { Sse, Stream } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { useSessions } from '../support/http2-client.js';
import { turns, useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();
const openSession = useSessions();

/** The server closes a connection after this number of milliseconds of silence. */
const IDLE_MS = 150;
/** How long streams are silent. */
const SILENCE_MS = 3 * IDLE_MS;
const FOREVER = new Promise<never>(() => undefined);

@Controller()
class Routes {
  @Sse('opened', { openDelay: 0 })
  async *opened() {
    await delay(SILENCE_MS);
    yield 'late';
  }

  @Stream('unopened', { format: 'sse', openDelay: 'first-chunk' })
  async *unopened() {
    await delay(SILENCE_MS);
    yield 'late';
  }

  @Stream('quick', { format: 'text' })
  *quick() {
    yield 'quick';
  }

  @Get('hanging')
  hanging() {
    return FOREVER;
  }
}

function withTimeout(app: INestApplication): void {
  (app.getHttpServer() as Server).setTimeout(IDLE_MS);
}

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`;

describe.each(PLATFORMS)('%s: a server that closes idle connections', (platform) => {
  it.each(['/opened', '/unopened'])('keeps a stream open that is silent for longer: %s', async (path) => {
    const { get } = await start(platform, { controllers: [Routes], configure: withTimeout });

    const client = await get(path);
    await client.until('data: late\n\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('closes the same connection when the next request on it is silent for that long', async () => {
    const { get, sockets } = await start(platform, { controllers: [Routes], configure: withTimeout });

    const client = await get('/opened');
    await client.until('data: late\n\n');
    await turns();
    client.send(request('/hanging'));
    await client.closed();

    expect(sockets.seen[0]?.timeout).toBe(IDLE_MS);
  });

  it('closes that connection also if the next request was pipelined', async () => {
    const { get } = await start(platform, { controllers: [Routes], configure: withTimeout });

    const client = await get('/opened');
    client.send(request('/hanging'));
    await client.closed();

    expect(client.received).toContain('data: late\n\n');
  });

  it('closes that connection also if the server has no keepAliveTimeout', async () => {
    const { get, sockets } = await start(platform, {
      controllers: [Routes],
      configure: (app) => {
        withTimeout(app);
        (app.getHttpServer() as Server).keepAliveTimeout = 0;
      },
    });

    const client = await get('/quick');
    await client.until('quick');
    await turns();
    const restored = sockets.seen[0]?.timeout;
    await client.closed();

    expect(restored).toBe(IDLE_MS);
  });

  it('keeps each of several pipelined streams open', async () => {
    const { get } = await start(platform, { controllers: [Routes], configure: withTimeout });

    const client = await get('/quick');
    client.send(request('/opened') + request('/opened'));
    await client.until(/(data: late\n\n[\s\S]*){2}/);

    expect(client.socket.destroyed).toBe(false);
  });

  it('keeps a connection after a stream for as long as after any response', async () => {
    const { get, sockets, app } = await start(platform, { controllers: [Routes], configure: withTimeout });
    const { keepAliveTimeout } = app.getHttpServer() as Server;

    const client = await get('/quick');
    await client.until('quick');
    await turns();

    expect(sockets.seen[0]?.timeout).toBeGreaterThanOrEqual(keepAliveTimeout);
  });

  it.each(['/opened', '/unopened'])('keeps a WebSocket open that is silent for longer: %s', async (path) => {
    const { url } = await start(platform, {
      controllers: [Routes],
      configure: withTimeout,
      options: { websocket: true },
    });

    const client = await WebSocketClient.open(url(path));

    expect((await client.all()).map(String)).toEqual(['late']);
  });
});

describe('fastify: with connectionTimeout', () => {
  it('a stream that is silent for longer stays open', async () => {
    const { get } = await start('fastify', {
      controllers: [Routes],
      fastify: { connectionTimeout: IDLE_MS },
    });

    const client = await get('/opened');
    await client.until('data: late\n\n');
  });
});

describe('fastify: over HTTP/2, a server that closes idle sessions', () => {
  it('keeps a session with silent streams open, and closes it when they have ended', async () => {
    const { port } = await start('fastify', {
      controllers: [Routes],
      fastify: { http2: true, http2SessionTimeout: IDLE_MS },
    });
    const client = await openSession(port);

    const replies = [client.get('/opened'), client.get('/unopened'), client.get('/quick')];
    await Promise.all(replies.map((reply) => reply.closed()));
    const closedBefore = client.session.closed || client.session.destroyed;
    await client.closed();

    expect(replies.map((reply) => [reply.received, reply.complete])).toEqual([
      ['data: late\n\n', true],
      ['data: late\n\n', true],
      ['quick', true],
    ]);
    expect(closedBefore).toBe(false);
  });
});
