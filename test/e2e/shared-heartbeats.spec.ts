import type { ServerResponse } from 'node:http';
import { Controller } from '@nestjs/common';
import { Subject } from 'rxjs';
import { type Hub, InjectHub, Sse, StreamingModule } from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { hubOf, joined } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();
const BEAT_MS = 15_000;

/** Starts an application with a hub, and with a route whose chunks the test sends. Its clock only advances by heartbeats. */
async function start(platform: Platform, configure?: AppSetup['configure']) {
  const chunks = new Subject<string>();
  @Controller()
  class Feed {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Sse('hub')
    ofHub() {
      return this.hub.subscribe();
    }

    @Sse('chunks')
    ofChunks() {
      return chunks;
    }
  }
  const app = await launch(platform, {
    controllers: [Feed],
    options: { openDelay: 0 },
    imports: [StreamingModule.registerHub({ name: 'feed' })],
    ...(configure && { configure }),
  });
  const clock = useFakeClock(app.app);
  const open = async (path: string) => {
    const client = await app.get(path);
    await client.until('\r\n\r\n');
    return client;
  };
  return { app, chunks, hub: hubOf<string>(app), open, beat: () => clock.advance(BEAT_MS) };
}

describe.each(PLATFORMS)('%s: heartbeats', (platform) => {
  it('of clients of a hub come between the events, as chunks of their own, up to a clean end', async () => {
    const { hub, open, beat } = await start(platform);
    const clients = [await open('/hub'), await open('/hub')];
    await joined(hub, 2);
    await beat();
    const first = await hub.publish('first');
    await turns();
    await beat();
    await beat();
    const second = await hub.publish('second');
    await hub.close();

    for (const client of clients) {
      await client.until(/\r\n0\r\n\r\n$/);
      const [position, ...frames] = client.frames;
      expect(position).toMatch(/^event: position\nid: \S+\ndata: {}\n\n$/);
      expect(frames).toEqual([':\n', `id: ${first}\ndata: first\n\n`, ':\n', ':\n', `id: ${second}\ndata: second\n\n`]);
    }
  });

  it('of other streams come between their chunks, up to a clean end', async () => {
    const { chunks, open, beat } = await start(platform);
    const client = await open('/chunks');

    await beat();
    chunks.next('first');
    await beat();
    await turns();
    await beat();
    chunks.next('second');
    chunks.complete();
    await client.until(/\r\n0\r\n\r\n$/);

    const [before, ...rest] = client.body.split('data: first\n\n');
    expect(before).toBe(':\n\n');
    expect(rest).toEqual([':\n\ndata: second\n\n']);
    expect(client.received.split('\r\n\r\n').slice(1).join('\r\n\r\n')).toBe(
      '3\r\n:\n\n\r\nd\r\ndata: first\n\n\r\n3\r\n:\n\n\r\ne\r\ndata: second\n\n\r\n0\r\n\r\n',
    );
  });

  it('pass through middleware that has replaced write()', async () => {
    const written: string[] = [];
    const { app, chunks, open, beat } = await start(platform, (app) => {
      app.use((_request: unknown, response: ServerResponse, next: () => void) => {
        const { write } = response;
        response.write = (...args: unknown[]): boolean => {
          written.push(Buffer.from(args[0] as Uint8Array).toString());
          return Reflect.apply(write, response, args) as boolean;
        };
        next();
      });
    });
    const clients = [await open('/chunks'), await open('/hub')];
    await joined(hubOf(app), 1);
    written.length = 0;

    await beat();
    chunks.complete();
    await clients[0]?.until(/\r\n0\r\n\r\n$/);

    expect(written.toSorted()).toEqual([':\n', ':\n\n']);
  });

  it('are not sent after other code has ended the response', async () => {
    const responses: ServerResponse[] = [];
    const { open, beat } = await start(platform, (app) => {
      app.use((_request: unknown, response: ServerResponse, next: () => void) => {
        responses.push(response);
        next();
      });
    });
    const client = await open('/chunks');
    await beat();
    await client.until(':\n\n\r\n');

    responses[0]?.end();
    await beat();
    await client.until(/\r\n0\r\n\r\n$/);
    await turns();

    expect(client.body).toBe(':\n\n');
    expect(client.received.endsWith('\r\n0\r\n\r\n')).toBe(true);
  });
});
