import { Controller } from '@nestjs/common';
import { Stream, StreamSignal } from '../../lib/index.js';
import { fromWorker } from '../../lib/worker/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { untilStable, useApps } from '../support/running.js';
import { act, fileOf, Notes, useThreads } from './support.js';

const launch = useApps();

describe.each(PLATFORMS)('%s: a route that streams from a worker', (platform) => {
  const threads = useThreads();

  it.each([
    ['sse', 'data: 1\n\ndata: 2\n\ndata: 3\n\n'],
    ['ndjson', '1\n2\n3\n'],
  ] as const)('sends its chunks as %s', async (format, body) => {
    const source = () => fromWorker(fileOf('count.mjs'), { data: 3 });
    const { url } = await launch(platform, { controllers: [controllerOf(source, { format })] });

    expect(await (await fetch(url('/source'))).text()).toBe(body);
  });

  it('sends its bytes as they are', async () => {
    const chunks = [new Uint8Array([0, 1, 128]), new Uint8Array([255])];
    const { url } = await launch(platform, {
      controllers: [controllerOf(() => act('chunks', { chunks }, { ring: 4_096 }), { format: 'bytes' })],
    });

    const response = await fetch(url('/source'));

    expect([...new Uint8Array(await response.arrayBuffer())]).toEqual([0, 1, 128, 255]);
  });

  it('answers with the status 500 if the worker fails before its first chunk', async () => {
    const { url, logs } = await launch(platform, {
      controllers: [controllerOf(() => fromWorker(fileOf('broken.mjs')), { format: 'sse' })],
    });

    expect((await fetch(url('/source'))).status).toBe(500);
    expect(logs.of('error').join()).toContain('missing.mjs');
  });

  it('stops the worker while a client does not read, and ends its thread when the client has gone', async () => {
    const notes = new Notes();
    @Controller()
    class Lines {
      @Stream('lines', { format: 'text' })
      lines(@StreamSignal() signal: AbortSignal) {
        return act('lines', { notes }, { signal });
      }
    }
    const { get } = await launch(platform, { controllers: [Lines] });
    const client = await get('/lines');
    await client.until('\r\n\r\n');
    client.socket.pause();

    const stopped = await untilStable(() => notes.produced, 300);
    expect(threads.alive).toBe(1);
    client.disconnect();
    await threads.gone();

    expect(stopped).toBeGreaterThan(0);
    expect(notes.finallies).toBe(1);
  });

  it('ends its thread when the application closes', async () => {
    const notes = new Notes();
    const { app, get } = await launch(platform, {
      controllers: [controllerOf(() => act('endless', { notes }), { format: 'ndjson' })],
    });
    const client = await get('/source');
    await client.until('\r\n\r\n');

    await app.close();
    await threads.gone();

    expect(notes.finallies).toBe(1);
  });
});
