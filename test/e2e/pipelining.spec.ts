import { Controller } from '@nestjs/common';
import { interval, map, Subject, takeUntil } from 'rxjs';
import { ConnectedStream, Stream, type StreamConnection } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { turns, useApps } from '../support/running.js';

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`;

/** Much shorter than the time that a client waits here, so a timeout that counts waiting would be noticed. */
const SEND_TIMEOUT = 40;
/** Ticks of 10 ms: several times that timeout. */
const LATER = 'tick 30;';

describe.each(PLATFORMS)('%s: a stream after another on the same connection', (platform) => {
  const start = useApps();

  function routes() {
    const stop = new Subject<void>();
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('forever', { format: 'text' })
      forever() {
        return interval(10).pipe(
          map((i) => `tick ${i};`),
          takeUntil(stop),
        );
      }

      @Stream('short', { format: 'text' })
      async *short() {
        yield 'short 1;';
        await turns(1);
        yield 'short 2;';
      }

      @Stream('large', { format: 'text' })
      *large() {
        for (let i = 0; i < 20; i++) {
          yield 'l'.repeat(65_536);
        }
      }

      @Stream('failing', { format: 'text' })
      async *failing() {
        yield 'before;';
        await turns(2);
        throw new Error('the one behind broke');
      }

      @Stream('hanging', { format: 'text' })
      hanging(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ beforeClose: () => turns(1) });
        return ['hanging;'];
      }
    }
    const options = {
      sendTimeout: SEND_TIMEOUT,
      hooks: { onClose: (stream: StreamConnection, { code }: { code: string }) => seen.add(`${stream.route} ${code}`) },
    };
    return { Feed, stop, seen, options };
  }

  it.each([
    ['short', 'short 1;short 2;', /short 2;/],
    ['large', 'l'.repeat(20 * 65_536), /0\r\n\r\n[\s\S]*0\r\n\r\n$/],
    ['hanging', 'hanging;', /hanging;/],
  ])('does not time out while it waits: %s', async (route, body, end) => {
    const { Feed, stop, seen, options } = routes();
    const { connect, logs } = await start(platform, { controllers: [Feed], options });
    const client = await connect();

    client.send(get('/forever') + get(`/${route}`));
    await client.until(LATER);
    expect(seen.seen).toEqual([]);
    stop.next();
    await client.until(end);

    const [first, second] = client.received.split(/(?<=\r\n0\r\n\r\n)/);
    expect(first).toContain(LATER);
    expect(second).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(second?.match(/short \d;|hanging;|l{1000,}/g)?.join('')).toBe(body);
    expect(await seen.count(2)).toEqual(['Feed.forever completed', `Feed.${route} completed`]);
    expect(logs.of('warn')).toEqual([]);
  });

  it('that fails does not affect the one before it, and is cut off when its turn comes', async () => {
    const { Feed, stop, seen, options } = routes();
    const { connect, logs } = await start(platform, { controllers: [Feed], options });
    const client = await connect();

    client.send(get('/forever') + get('/failing'));
    await client.until(LATER);
    expect(logs.of('error').join()).toContain('the one behind broke');
    expect(client.received).not.toContain('before;');
    stop.next();
    await client.closed();

    const [first, second] = client.received.split(/(?<=\r\n0\r\n\r\n)/);
    expect(first).toContain(LATER);
    expect(second).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*before;\r\n$/);
    expect(seen.seen).toContain('Feed.forever completed');
    expect(await seen.count(2)).toHaveLength(2);
    expect(seen.seen.filter((line) => line.startsWith('Feed.failing'))).toEqual(['Feed.failing error']);
  });
});
