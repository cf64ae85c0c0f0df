import type { StreamOptions } from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { useApps } from '../support/running.js';

const start = useApps();

const EVENT_STREAM = { 'Content-Type': 'text/event-stream; charset=utf-8' };
const BEAT_MS = 1_000;
const BEATING: StreamOptions = { heartbeat: BEAT_MS };

/** A client of a Response. The test controls the pieces of the body and the clock. */
async function open(platform: Platform, options: StreamOptions, headers: Record<string, string>) {
  let body: ReadableStreamDefaultController<Uint8Array> | undefined;
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => {
      body = controller;
    },
  });
  const { app, get } = await start(platform, {
    controllers: [controllerOf(() => new Response(stream, { headers }), { openDelay: 0, ...options })],
    options: { heartbeat: BEAT_MS },
  });
  const clock = useFakeClock(app);
  const client = await get('/source');
  await client.until('\r\n\r\n');
  let written = '';
  return {
    client,
    write: async (text: string) => {
      written += text;
      body?.enqueue(Buffer.from(text));
      while (!client.body.replaceAll(':\n', '').endsWith(written.replaceAll(':\n', ''))) {
        await new Promise((resolve) => client.socket.once('data', resolve));
      }
    },
    beat: () => clock.advance(BEAT_MS),
    end: async () => {
      clock.restore();
      body?.close();
      await client.until(/0\r\n\r\n$/);
      return client.body;
    },
  };
}

describe.each(PLATFORMS)('%s: a returned Response of Server-Sent Events', (platform) => {
  it.each([
    ['LF', ['data: a\n\n']],
    ['CRLF', ['data: a\r\n\r\n']],
    ['CRLF, cut within the last of them', ['data: a\r\n\r', '\n']],
    ['CR', ['data: a\r\r']],
    ['LF, a byte at a time', [...'data: a\n\n']],
    ['LF after CRLF', ['data: a\r\n', '\n']],
  ])('receives heartbeats between its events if the route sets heartbeat: %s', async (_name, pieces) => {
    const { write, beat, end } = await open(platform, BEATING, EVENT_STREAM);

    await beat();
    for (const piece of pieces) {
      await write(piece);
    }
    await beat();
    await beat();
    await write('id: 1\ndata: b\n\n');

    expect(await end()).toBe(`:\n${pieces.join('')}:\n:\nid: 1\ndata: b\n\n`);
  });

  it.each([
    ['within a line', 'data: a'],
    ['after a line', 'data: a\n'],
    ['after a line that ends with CRLF', 'data: a\r\n'],
    ['after a line that ends with CR', 'data: a\r'],
    ['within the CRLF of an empty line', 'data: a\r\n\r'],
  ])('receives no heartbeat %s', async (_name, piece) => {
    const { write, beat, end } = await open(platform, BEATING, EVENT_STREAM);

    await write(piece);
    await beat();
    await beat();

    expect(await end()).toBe(piece);
  });

  it.each<[string, StreamOptions, Record<string, string>]>([
    ['where only the application sets it', {}, EVENT_STREAM],
    ['of another media type', BEATING, { 'Content-Type': 'text/plain' }],
    ['that is encoded', BEATING, { ...EVENT_STREAM, 'Content-Encoding': 'x-own' }],
  ])('receives no heartbeat %s', async (_name, options, headers) => {
    const { write, beat, end } = await open(platform, options, headers);

    await beat();
    await write('data: a\n\n');
    await beat();
    await write('data: b\n\n');

    expect(await end()).toBe('data: a\n\ndata: b\n\n');
  });

  it('receives no heartbeat if its length is fixed', async () => {
    const headers = { ...EVENT_STREAM, 'Content-Length': '18' };
    const { client, write, beat } = await open(platform, BEATING, headers);

    await beat();
    await write('data: a\n\n');
    await beat();
    await client.until('data: a\n\n');

    expect(client.received.endsWith('\r\n\r\ndata: a\n\n')).toBe(true);
  });
});
