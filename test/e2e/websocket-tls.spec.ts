import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Controller, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ConnectedStream, Stream, type StreamConnection, StreamingModule } from '../../lib/index.js';
import { LogRecorder } from '../support/app.js';
import { WebSocketClient } from '../support/websocket-client.js';

const TLS = join(dirname(fileURLToPath(import.meta.url)), '../support/tls');
const https = { key: readFileSync(join(TLS, 'key.pem')), cert: readFileSync(join(TLS, 'cert.pem')) };

@Controller()
class Feed {
  @Stream('feed')
  async *feed(@ConnectedStream() stream: StreamConnection) {
    yield 'a';
    for await (const message of stream.messages) yield message;
  }

  @Stream('short')
  short() {
    return ['short'];
  }
}

class Root {}
const ROOT = { module: Root, imports: [StreamingModule.forRoot({ websocket: true })], controllers: [Feed] };

describe.each(['express', 'fastify', 'fastify with HTTP/2 and allowHTTP1'])('%s over TLS', (platform) => {
  it('accepts WebSockets, and responds to other upgrades as to ordinary requests', async () => {
    const logger = new LogRecorder();
    const app: INestApplication =
      platform === 'express'
        ? await NestFactory.create(ROOT, { logger, httpsOptions: https })
        : platform === 'fastify'
          ? await NestFactory.create(ROOT, new FastifyAdapter({ https }), { logger })
          : await NestFactory.create(ROOT, new FastifyAdapter({ http2: true, https: { ...https, allowHTTP1: true } }), {
              logger,
            });
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;
    try {
      const url = `wss://127.0.0.1:${port}`;
      const options = { rejectUnauthorized: false };
      const client = await WebSocketClient.open(`${url}/feed`, [], { ...options, origin: `https://127.0.0.1:${port}` });
      client.socket.send('b');
      expect(await client.messages.count(2)).toEqual(['a', 'b']);
      client.socket.close();
      await client.closed;
      expect(await WebSocketClient.refusal(`${url}/none`, [], options)).toMatchObject({ status: 404 });
      // An attacker in the network can forge such a page, and browsers send the cookies of the site with its requests.
      const forged = { ...options, origin: `http://127.0.0.1:${port}` };
      expect(await WebSocketClient.refusal(`${url}/feed`, [], forged)).toMatchObject({ status: 403 });

      const other = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
      await once(other, 'secureConnect');
      let received = '';
      other.on('data', (data) => {
        received += String(data);
      });
      other.write('GET /short HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, close\r\nUpgrade: foo\r\n\r\n');
      await once(other, 'close');
      expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n.*short/s);
      expect(logger.of('error')).toEqual([]);
    } finally {
      await app.close();
    }
  });
});
