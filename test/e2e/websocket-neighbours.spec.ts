import { execFile } from 'node:child_process';
import { type IncomingMessage, request, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import { Body, Controller, Get, type INestApplication, Param, Post } from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { WebSocket, WebSocketServer } from 'ws';
import { Stream, type StreamingModuleOptions } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { turns, useApps } from '../support/running.js';
import { itWith } from '../support/tools.js';
import { WebSocketClient } from '../support/websocket-client.js';

const launch = useApps();
const ON: StreamingModuleOptions = { websocket: true };
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HANDSHAKE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': KEY,
};

@Controller()
class Feed {
  @Stream('feed')
  feed() {
    return ['a'];
  }

  @Stream('items/:id')
  item(@Param('id') id: string) {
    return [id];
  }

  @Get('items/:id/plain')
  plain() {
    return 'plain';
  }

  @Get('items/plain')
  shadowed() {
    return 'shadowed';
  }

  @Post('posted')
  posted(@Body() body: unknown) {
    return body;
  }
}

describe.each(PLATFORMS)('%s: upgrades', (platform) => {
  /** How often the middleware of the application ran. */
  let middleware = 0;
  const start = (configure?: (app: INestApplication) => void, providers: (new () => object)[] = []) => {
    middleware = 0;
    return launch(platform, {
      controllers: [Feed],
      providers,
      options: ON,
      configure: (app) => {
        app.use((_request: unknown, _response: unknown, next: () => void) => {
          middleware++;
          next();
        });
        configure?.(app);
      },
    });
  };

  describe('that are refused', () => {
    const without = (...names: (keyof typeof HANDSHAKE)[]) =>
      Object.fromEntries(Object.entries(HANDSHAKE).filter(([name]) => !names.includes(name as keyof typeof HANDSHAKE)));

    it.each<[string, Record<string, string>, string, RegExp]>([
      [
        'an old version',
        { ...HANDSHAKE, 'Sec-WebSocket-Version': '8' },
        '426 Upgrade Required',
        /sec-websocket-version: 13\r\n/i,
      ],
      ['an invalid version', { ...HANDSHAKE, 'Sec-WebSocket-Version': 'x' }, '426 Upgrade Required', /must be 13/],
      ['no version', without('Sec-WebSocket-Version'), '426 Upgrade Required', /must be 13/],
      [
        'a short key',
        { ...HANDSHAKE, 'Sec-WebSocket-Key': 'YQ==' },
        '400 Bad Request',
        /Sec-WebSocket-Key must be 16 bytes/,
      ],
      ['no key', without('Sec-WebSocket-Key'), '400 Bad Request', /Sec-WebSocket-Key/],
      [
        'an unknown subprotocol',
        { ...HANDSHAKE, 'Sec-WebSocket-Protocol': 'chat, soap' },
        '400 Bad Request',
        /there is events\.v1\+json/,
      ],
      [
        'a malformed list of subprotocols',
        { ...HANDSHAKE, 'Sec-WebSocket-Protocol': 'a,,b' },
        '400 Bad Request',
        /Sec-WebSocket-Protocol/,
      ],
      [
        'a subprotocol named twice',
        { ...HANDSHAKE, 'Sec-WebSocket-Protocol': 'events.v1+json, events.v1+json' },
        '400 Bad Request',
        /each subprotocol once/,
      ],
      ['a body', { ...HANDSHAKE, 'Content-Length': '3' }, '400 Bad Request', /has no body/],
    ])('for %s receive a status before the handler is called', async (_what, headers, status, message) => {
      const app = await start();

      const client = await app.get('/feed', headers);
      const answer = await client.closed();

      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n`));
      expect(answer).toMatch(message);
      expect(answer).toMatch(/\r\nconnection: (?:Upgrade, )?close\r\n/i);
      expect(middleware).toBe(0);
    });

    it('for another method receive a response that names the allowed method', async () => {
      const app = await start();

      const client = await app.get('/feed', HANDSHAKE, 'DELETE');

      expect(await client.closed()).toMatch(/^HTTP\/1\.1 405 Method Not Allowed\r\n(?:.+\r\n)*Allow: GET\r\n/);
    });

    it.each(['/', '/feeds', '/items/1/2', '/posted'])('because no route exists at %s receive a 404', async (path) => {
      const app = await start();

      const client = await app.get(path, HANDSHAKE);

      expect(await client.closed()).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
      expect(middleware).toBe(0);
    });

    it('do not prevent the response to an earlier request on their connection, or are closed with it', async () => {
      const app = await start();
      const client = await app.connect();

      client.send('GET /items/1/plain HTTP/1.1\r\nHost: test\r\n\r\n');
      await client.until('plain');
      client.send(handshakeText('/feed'));
      await client.until('completed');
      expect(client.received).toContain('\x81\x01a');

      const pipelining = await app.connect();
      pipelining.send(`GET /items/1/plain HTTP/1.1\r\nHost: test\r\n\r\n${handshakeText('/feed')}`);
      await pipelining.closed();
      expect(pipelining.received).not.toContain('101 Switching');
      expect(app.logs.of('error')).toEqual([expect.stringContaining('An upgrade was refused by closing')]);
    });
  });

  it('that reach a route that is not a stream receive the response to an ordinary request', async () => {
    const app = await start();

    // The path of the stream matches too, and the router knows better on one platform.
    const refusal = await new Promise<string>((resolve, reject) => {
      const asked = request(app.url('/items/plain'), { headers: HANDSHAKE });
      asked.on('upgrade', (_response, socket) => {
        socket.destroy();
        resolve('upgraded');
      });
      asked.on('response', (response) => {
        response.resume();
        resolve(`${response.statusCode} ${response.headers.connection}`);
      });
      asked.on('error', reject);
      asked.end();
    });

    expect(refusal).toBe(platform === 'express' ? 'upgraded' : '200 close');
  });

  it('without a listener are ordinary requests, on a connection that stays open', async () => {
    const app = await start();
    const client = await app.connect();

    client.send(
      'POST /posted HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n' +
        'Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}',
    );
    await client.until('{"a":1}');
    client.send('GET /feed HTTP/1.1\r\nHost: test\r\n\r\n');
    await client.until('\r\n\r\na');
    client.send('GET /items/7/plain HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');

    expect(await client.closed()).toMatch(/^HTTP\/1\.1 201 .*HTTP\/1\.1 200 .*HTTP\/1\.1 200 .*plain$/s);
    expect(app.logs.of('error')).toEqual([]);
  });

  itWith('curl')('of curl to HTTP/2 are answered over HTTP/1.1', async () => {
    const app = await start();

    const { stdout } = await promisify(execFile)('curl', ['-sS', '--http2', '--max-time', '20', app.url('/feed')]);

    expect(stdout).toBe('a');
  });

  describe('in an application with gateways', () => {
    const ask = async (url: string, message: string): Promise<string> => {
      const client = await WebSocketClient.open(url);
      client.socket.send(message);
      const [answer] = await client.messages.count(1);
      client.socket.terminate();
      return String(answer);
    };

    it('of ws reach the gateways, which receive no upgrade of a stream, and do not run the middleware of the application', async () => {
      @WebSocketGateway({ path: '/gateway' })
      class Gateway {
        @SubscribeMessage('ask')
        answer(@MessageBody() data: string) {
          return { event: 'answer', data: `${data}!` };
        }
      }
      const app = await start((nest) => void nest.useWebSocketAdapter(new WsAdapter(nest)), [Gateway]);

      expect(await ask(app.url('/gateway'), '{"event":"ask","data":"a"}')).toBe('{"event":"answer","data":"a!"}');
      expect(middleware).toBe(0);
      const ours = await WebSocketClient.open(app.url('/feed'));
      expect(await ours.all()).toEqual(['a']);
      expect(middleware).toBe(1);
      // What it does with those it does not know is its own matter: it closes them.
      const unknown = await app.get('/none', HANDSHAKE);
      expect(await unknown.closed()).toBe('');
    });

    it('of socket.io reach the gateways, also while an upgrade of a stream is pending', async () => {
      @WebSocketGateway()
      class Gateway {
        @SubscribeMessage('ask')
        answer(@MessageBody() data: string) {
          return { event: 'answer', data };
        }
      }
      const app = await start((nest) => void nest.useWebSocketAdapter(new IoAdapter(nest)), [Gateway]);

      const client = await WebSocketClient.open(app.url('/socket.io/?EIO=4&transport=websocket'));
      client.socket.send('40');
      await client.messages.count(2);
      client.socket.send('42["ask","a"]');
      expect((await client.messages.count(3))[2]).toBe('42["answer","a"]');
      client.socket.terminate();
      const ours = await WebSocketClient.open(app.url('/feed'));
      expect(await ours.all()).toEqual(['a']);
    });

    it('of a ws server with a path reach that server, whether it was created before or after', async () => {
      const servers: WebSocketServer[] = [];
      const attach = (server: Server, path: string): void => {
        const webSockets = new WebSocketServer({ server, path });
        webSockets.on('connection', (socket: WebSocket) => socket.send(path));
        servers.push(webSockets);
      };
      const app = await start((nest) => attach(nest.getHttpServer(), '/before'));
      // A ws server refuses all upgrades at other paths, so it would also refuse those of the other server.
      const before = await WebSocketClient.open(app.url('/before'));
      expect(await before.messages.count(1)).toEqual(['/before']);
      before.socket.terminate();
      for (const server of servers.splice(0)) {
        server.close();
        app.app.getHttpServer().removeAllListeners('wsClientError');
      }

      attach(app.app.getHttpServer(), '/later');
      const later = await WebSocketClient.open(app.url('/later'));
      expect(await later.messages.count(1)).toEqual(['/later']);
      later.socket.terminate();
      const ours = await WebSocketClient.open(app.url('/feed'));
      expect(await ours.all()).toEqual(['a']);
      for (const server of servers) {
        server.close();
      }
    });

    it('that the gateways ignore are refused after a while, and those that they process are not', async () => {
      const taken = deferred<Socket>();
      const app = await start((nest) => {
        (nest.getHttpServer() as Server).on('upgrade', ({ url }: IncomingMessage, socket: Socket) => {
          if (url === '/taken') {
            socket.on('data', () => undefined);
            taken.resolve(socket);
          }
        });
      });

      const working = await app.get('/taken', HANDSHAKE);
      const ignored = await app.get('/ignored', HANDSHAKE);

      expect(await ignored.closed()).toMatch(/^HTTP\/1\.1 404 /);
      const socket = await taken.promise;
      await turns();
      expect([socket.destroyed, working.received]).toEqual([false, '']);
      socket.destroy();
    }, 60_000);
  });

  it('of two applications in one process reach only their own application', async () => {
    const [one, two] = [await start(), await start()];

    const clients = await Promise.all([one, two].map((app) => WebSocketClient.open(app.url('/items/7'))));

    expect(await Promise.all(clients.map((client) => client.all()))).toEqual([['7'], ['7']]);
    await one.close();
    const still = await WebSocketClient.open(two.url('/feed'));
    expect(await still.all()).toEqual(['a']);
  });
});

function handshakeText(path: string): string {
  const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\nHost: test\r\n${lines.join('')}\r\n`;
}
