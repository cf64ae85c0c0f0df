import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DRIVERS, type Driver } from '../../support/drivers/index.js';
import { Recorder } from '../../support/events.js';
import { RawClient } from '../../support/raw-client.js';
import { turns } from '../../support/running.js';
import { type FeedSetup, useFeeds } from '../../support/transports.js';

/** What Fastify logs for a request that is over. */
interface Entry {
  readonly message: string;
  readonly status: number;
  readonly time: number;
}

interface Watched {
  readonly log?: boolean;
  readonly hook?: boolean;
}

/** Records the log of Fastify and the calls of its `onResponse` hooks. */
function watching({ log = false, hook = false }: Watched) {
  const entries = new Recorder<Entry>();
  const hooked = new Recorder<number>();
  const stream = {
    write(line: string): void {
      const { msg: message, res, responseTime: time } = JSON.parse(line);
      if (res !== undefined) {
        entries.add({ message, status: res.statusCode, time });
      }
    },
  };
  const on = (driver: Driver): Driver => ({
    ...driver,
    setup: { ...driver.setup, fastify: { ...driver.setup.fastify, ...(log && { logger: { stream } }) } },
  });
  const configure: FeedSetup['configure'] = (app) => {
    if (hook) {
      const instance = (app as NestFastifyApplication).getHttpAdapter().getInstance();
      instance.addHook('onResponse', async (_request, reply) => hooked.add(reply.statusCode));
    }
  };
  return { entries, hooked, on, configure };
}

const FASTIFY = DRIVERS.filter(({ platform }) => platform === 'fastify');
const NEVER = new Promise<never>(() => undefined);

describe.each(FASTIFY)('$name: the log of Fastify and its onResponse hooks report', (driver) => {
  const start = useFeeds();
  const { accepted } = driver;

  async function launch(setup: FeedSetup, watched: Watched = { log: true, hook: true }) {
    const watch = watching(watched);
    const app = await start(watch.on(driver), { ...setup, configure: watch.configure });
    return { ...app, ...watch };
  }

  /** Resolves to the records when all streams are over. */
  async function once({ entries, hooked, close }: Awaited<ReturnType<typeof launch>>): Promise<number[]> {
    await entries.count(1);
    await hooked.count(1);
    await close();
    expect(entries.seen).toEqual([{ message: 'request completed', status: hooked.seen[0], time: expect.any(Number) }]);
    expect(entries.seen[0]?.time).toBeGreaterThan(0);
    return hooked.seen;
  }

  it('a stream that ends cleanly, once', async () => {
    const app = await launch({
      feed: ({ stream }) => {
        stream.status(203);
        return [1];
      },
    });
    await app.open().ended();

    expect(await once(app)).toEqual([accepted(203)]);
  });

  it('a stream that fails after its first chunk, once', async () => {
    const app = await launch({
      async *feed() {
        yield 1;
        await turns();
        throw new Error('broken');
      },
    });
    await app.open().ended();

    expect(await once(app)).toEqual([accepted(200)]);
  });

  it('a stream whose client disconnects after the first chunk, once', async () => {
    const app = await launch({
      async *feed() {
        yield 1;
        await NEVER;
      },
    });
    const client = app.open();
    await client.until(1);
    client.leave();

    expect(await once(app)).toEqual([accepted(200)]);
  });

  it('a stream whose client disconnects before it opens, once', async () => {
    const called = new Recorder<true>();
    const app = await launch({
      route: { openDelay: 'first-chunk' },
      feed() {
        called.add(true);
        return NEVER;
      },
    });
    const client = app.open();
    await called.count(1);
    client.leave();

    expect(await once(app)).toEqual([200]);
  });

  it('a stream whose client disconnects while a guard runs, once', async () => {
    const asked = new Recorder<true>();
    const left = new Recorder<true>();
    const app = await launch({
      guard: async () => {
        asked.add(true);
        await left.count(1);
        return true;
      },
    });
    const client = app.open();
    await asked.count(1);
    app.peers[0]?.once('close', () => setImmediate(() => left.add(true)));
    client.leave();

    expect(await once(app)).toEqual([200]);
  });

  it('a stream that is cut off because its client is too slow, once', async () => {
    const app = await launch({
      route: { queue: { items: 2 } },
      feed({ stream }) {
        void stream.send('first');
        for (let i = 0; i < 400; i++) {
          void stream.send('x'.repeat(65_536));
        }
      },
    });
    app.open();

    expect(await once(app)).toEqual([accepted(200)]);
  });

  it('a stream to which an exception filter responds, once', async () => {
    const app = await launch({
      feed() {
        throw new Error('refused');
      },
    });
    await app.open().ended();

    expect((await once(app)).at(-1)).toBe(500);
  });

  it.each([{ log: true }, { hook: true }])(
    'a stream that fails, also if only one of the two is used: %j',
    async (watched) => {
      const app = await launch(
        {
          async *feed() {
            yield 1;
            await turns();
            throw new Error('broken');
          },
        },
        watched,
      );
      await app.open().ended();
      await (watched.log ? app.entries : app.hooked).count(1);
      await app.close();

      expect([app.entries.seen.length, app.hooked.seen.length]).toEqual(watched.log ? [1, 0] : [0, 1]);
    },
  );
});

describe.each(FASTIFY.slice(0, 1))('$name: the log of Fastify reports', (driver) => {
  const start = useFeeds();

  it('both streams of a connection whose client disconnects while one waits for the other', async () => {
    const calls = new Recorder();
    const { on, entries, configure } = watching({ log: true });
    const { port, close } = await start(on(driver), {
      configure,
      async *feed({ name }) {
        calls.add(name);
        yield name;
        await NEVER;
      },
    });
    const client = await RawClient.get(port, '/feed/one');
    await client.until('one');
    client.send('GET /feed/two HTTP/1.1\r\nHost: test\r\n\r\n');
    await calls.count(2);
    client.disconnect();
    await entries.count(2);
    await close();

    expect(entries.seen.map(({ message, status }) => `${message} ${status}`)).toEqual([
      'request completed 200',
      'request completed 200',
    ]);
  });

  it('all streams of a connection once each, however many end before the connection closes', async () => {
    const { on, entries, configure } = watching({ log: true });
    const { port, close } = await start(on(driver), { configure, feed: ({ name }) => [name] });
    const client = await RawClient.connect(port);
    const get = (name: string) => `GET /feed/${name} HTTP/1.1\r\nHost: test\r\n\r\n`;
    client.send(get('one') + get('two') + get('three'));
    await client.until('"three"');
    client.disconnect();
    await close();

    expect(entries.seen).toHaveLength(3);
  });
});
