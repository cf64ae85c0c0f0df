import { type IncomingMessage, request } from 'node:http';
import { Controller, Get } from '@nestjs/common';
import { Sse, Stream, StreamSignal } from '../../lib/index.js';
import { fromNative } from '../../lib/worker/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { Recorder } from '../support/events.js';
import { NODE_GYP_TOOLS, nodeGypTools } from '../support/node-gyp.js';
import { useApps } from '../support/running.js';
import { describeWith } from '../support/tools.js';
import { eventually } from '../support/transports.js';
import { BUILD_MS, figuresOf, loadProducers, type ProducerEnd, type Producers } from './producers.js';

/** More than the buffers of sockets hold. */
const CHUNKS = 20_000;
const launch = useApps();

describeWith(NODE_GYP_TOOLS, nodeGypTools())('A route that streams from an addon', () => {
  let addon: Producers;

  beforeAll(async () => {
    addon = await loadProducers();
  }, BUILD_MS);

  let calm = 0;
  let last = 0;

  /** Returns whether the only thread sleeps, and has been woken by nobody for some turns. */
  function isStalled(): boolean {
    const { waiting, full } = figuresOf(addon);
    calm = waiting === 1 && full === last ? calm + 1 : 0;
    last = full;
    return calm > 200;
  }

  describe.each(PLATFORMS)('on %s', (platform) => {
    it('sends each chunk as one event', async () => {
      const { handle, stream } = addon.open();
      const { get } = await launch(platform, {
        controllers: [controllerOf(() => fromNative(handle, { encoding: 'utf8' }), { format: 'sse' })],
      });
      const client = await get('/source');
      await client.until('\r\n\r\n');
      for (const chunk of ['a', 'b\nc', '']) {
        addon.send(stream, Buffer.from(chunk));
      }
      await client.until('data: \n\n');
      addon.close(stream);
      await client.until('0\r\n\r\n');

      expect(client.body).toBe('data: a\n\ndata: b\ndata: c\n\ndata: \n\n');
    });

    it('sends bytes as they are', async () => {
      const { handle, stream } = addon.open();
      const bytes = Buffer.from([0, 1, 128, 255]);
      addon.send(stream, bytes);
      addon.send(stream, bytes);
      addon.close(stream);
      const { url } = await launch(platform, {
        controllers: [controllerOf(() => fromNative(handle), { format: 'bytes' })],
      });

      const response = await fetch(url('/source'));

      expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.concat([bytes, bytes]))).toBe(true);
    });

    it('answers with the status 500 if the addon fails before the first chunk', async () => {
      const { handle, stream } = addon.open();
      const { url, logs } = await launch(platform, {
        controllers: [controllerOf(() => fromNative(handle), { format: 'sse' })],
      });
      const answer = fetch(url('/source'));
      addon.close(stream, 'the model is too large');

      const { status } = await answer;

      expect(status).toBe(500);
      expect(logs.of('error').join()).toContain('the model is too large');
    });

    it('reports an error after the first chunk in an event, as with every source', async () => {
      const { handle, stream } = addon.open();
      const { get, logs } = await launch(platform, {
        controllers: [controllerOf(() => fromNative(handle, { encoding: 'utf8' }), { format: 'sse' })],
      });
      const client = await get('/source');
      addon.send(stream, Buffer.from('a'));
      await client.until('data: a');
      addon.close(stream, 'out of memory');
      await client.closed();

      expect(client.body).toMatch(/^data: a\n\nevent: error\n/);
      expect(client.body).not.toContain('out of memory');
      expect(logs.of('error').join()).toContain('out of memory');
    });

    it('lets the thread sleep while the client does not read, and loses nothing', async () => {
      const before = figuresOf(addon);
      const { handle, stream } = addon.open(4096);
      const { url } = await launch(platform, {
        controllers: [controllerOf(() => fromNative(handle), { format: 'bytes' })],
      });
      const response = await new Promise<IncomingMessage>((resolve) => request(url('/source'), resolve).end());
      addon.flood(stream, 1, CHUNKS, 1_000);
      await eventually(isStalled);

      expect(figuresOf(addon).running).toBe(1);
      expect(figuresOf(addon).taken - before.taken).toBeLessThan(CHUNKS);
      const body = Buffer.concat(await response.toArray()).toString();
      expect(body).toHaveLength(CHUNKS * 1_000);
      expect(body.match(/0:\d+/g)?.every((chunk, index) => chunk === `0:${index}`)).toBe(true);
      await eventually(() => figuresOf(addon).running === 0);
      expect(figuresOf(addon).taken - before.taken).toBe(CHUNKS);
    });

    it('makes the functions of the header return -1 within a turn after the client has gone', async () => {
      const seen = new Recorder<number[]>();
      const ends: ProducerEnd[] = [];
      @Controller()
      class Tokens {
        @Sse('tokens')
        tokens(@StreamSignal() signal: AbortSignal) {
          const { handle, stream } = addon.open();
          ends.push(stream);
          addon.send(stream, Buffer.from('first'));
          signal.addEventListener('abort', () =>
            setImmediate(() => seen.add([addon.isCancelled(stream), addon.send(stream, Buffer.from('x'))])),
          );
          return fromNative(handle, { encoding: 'utf8' });
        }
      }
      const { get } = await launch(platform, { controllers: [Tokens] });
      const client = await get('/tokens');
      await client.until('data: first');
      client.disconnect();

      expect(await seen.count(1)).toEqual([[1, -1]]);
      for (const stream of ends) {
        addon.close(stream);
      }
    });

    it('ends the threads when the application closes', async () => {
      const before = figuresOf(addon);
      @Controller()
      class Floods {
        @Stream('flood')
        flood() {
          const { handle, stream } = addon.open(1024);
          addon.flood(stream, 2, 1_000_000, 100);
          return fromNative(handle);
        }

        @Get('plain')
        plain() {
          return 'plain';
        }
      }
      const { app, get } = await launch(platform, { controllers: [Floods] });
      const client = await get('/flood');
      client.socket.pause();
      await eventually(() => figuresOf(addon).waiting === 2);
      await app.close();
      await eventually(() => figuresOf(addon).running === 0);

      expect(figuresOf(addon).gone - before.gone).toBe(2);
    });
  });
});
