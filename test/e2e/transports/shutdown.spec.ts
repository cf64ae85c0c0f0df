import type { StreamConnection, StreamHooks } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { turns, untilStable } from '../../support/running.js';
import { type Call, expectEnd, noise, useFeeds } from '../../support/transports.js';

import.meta.jest.setTimeout(60_000);

const NEVER = new Promise<never>(() => undefined);
const LONG_MS = 60_000;

/** Hooks that record how streams ended. */
function ends(seen: Recorder): StreamHooks {
  return { onClose: (_stream, { code }) => seen.add(code) };
}

async function* endless(): AsyncGenerator<string> {
  yield 'x';
  await NEVER;
}

describe.each(DRIVERS)('$name: when the application closes', (driver) => {
  const start = useFeeds();

  it('a stream whose generator is stuck in an await is ended cleanly, and its signal is aborted', async () => {
    const seen = new Recorder();
    const reasons = new Recorder<unknown>();
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: 20 }, hooks: ends(seen) },
      feed({ signal }) {
        signal.addEventListener('abort', () => reasons.add(signal.reason));
        return endless();
      },
    });
    const client = open();
    await client.until(1);

    await close();

    await expectEnd(driver, client, 'shutdown');
    expect(client.records).toEqual(['x']);
    expect(seen.seen).toEqual(['shutdown']);
    expect(reasons.seen).toEqual([expect.objectContaining({ code: 'shutdown' })]);
  });

  it('a stream that has not opened is refused with 503', async () => {
    const called = deferred();
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: 20 } },
      route: { openDelay: 'first-chunk' },
      async feed() {
        called.resolve();
        await NEVER;
        return ['x'];
      },
    });
    const client = open();
    await called.promise;

    await close();

    expect((await client.refused()).status).toBe(503);
  });

  it('finite streams end by themselves within the grace period, and it waits no longer than they take', async () => {
    const seen = new Recorder();
    const farewell = new Recorder();
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: LONG_MS }, hooks: ends(seen) },
      async *feed({ stream }) {
        stream.hooks({ onShutdown: () => farewell.add('called') });
        yield 1;
        await farewell.count(2);
        yield 2;
        await turns();
        yield 3;
      },
    });
    const clients = [open(), open()];
    await Promise.all(clients.map((client) => client.until(1)));

    await close();

    for (const client of clients) {
      await expectEnd(driver, client, 'completed');
      expect(client.records).toEqual([1, 2, 3]);
    }
    expect(seen.seen).toEqual(['completed', 'completed']);
  });

  it('new streams are refused with 503 while it waits, also those in a guard', async () => {
    const gates = { feed: deferred(), guard: deferred() };
    const farewell = deferred();
    const guarding = new Recorder();
    let called = 0;
    const { open, close, text } = await start(driver, {
      options: { shutdown: { grace: LONG_MS } },
      async guard() {
        guarding.add('asked');
        if (guarding.seen.length === 2) {
          await gates.guard.promise;
        }
        return true;
      },
      async *feed({ stream }) {
        called++;
        stream.hooks({ onShutdown: () => farewell.resolve() });
        yield 'x';
        await gates.feed.promise;
        yield 'y';
      },
    });
    const client = open();
    await client.until(1);
    const guarded = open();
    await guarding.count(2);

    const closed = close();
    await farewell.promise;
    const refused = await open().refused();
    gates.guard.resolve();

    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toBe('5');
    expect(refused.body).toMatchObject({ statusCode: 503 });
    expect((await guarded.refused()).status).toBe(503);
    expect(called).toBe(1);
    expect(await text('/plain')).toBe('fine');
    gates.feed.resolve();
    await closed;
    await expectEnd(driver, client, 'completed');
    expect(client.records).toEqual(['x', 'y']);
  });

  it('onShutdown may send a last chunk', async () => {
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: 20 }, hooks: { onShutdown: async () => ({ bye: true }) } },
      feed: endless,
    });
    const client = open();
    await client.until(1);

    await close();

    await expectEnd(driver, client, 'shutdown');
    expect(client.records).toEqual(['x', { bye: true }]);
  });

  it('a client that has stopped reading does not delay it', async () => {
    const seen = new Recorder();
    const chunk = noise(65_536);
    let pulled = 0;
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: 20 }, hooks: ends(seen) },
      *feed() {
        for (;;) {
          pulled++;
          yield chunk;
        }
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    await untilStable(() => pulled);

    await close();

    expect(seen.seen).toEqual(['shutdown']);
  });

  const HOOKS: [string, (called: () => void) => StreamHooks][] = [
    ['beforeClose', () => ({ beforeClose: () => NEVER })],
    ['onShutdown', () => ({ onShutdown: () => NEVER })],
    [
      'onOpen',
      (called) => ({
        onOpen() {
          called();
          return NEVER;
        },
      }),
    ],
  ];

  it.each(HOOKS)('an %s that never resolves does not delay it', async (_, hooks) => {
    const seen = new Recorder();
    const called = deferred();
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: 20 }, hooks: ends(seen) },
      async *feed({ stream }: Call) {
        stream.hooks(hooks(called.resolve));
        yield 'x';
        called.resolve();
        await NEVER;
      },
    });
    open();
    await called.promise;

    await close();

    expect(seen.seen).toEqual(['shutdown']);
  });

  it('many streams are ended, also those that send', async () => {
    const seen = new Recorder();
    const { open, close } = await start(driver, {
      options: { shutdown: { grace: 20 }, hooks: ends(seen) },
      async *feed({ name }) {
        yield 'x';
        while (name === 'talking') {
          yield 'more';
          await turns(1);
        }
        await NEVER;
      },
    });
    const clients = Array.from({ length: 20 }, (_, i) => open(i % 2 === 0 ? '/feed/talking' : '/feed'));
    await Promise.all(clients.map((client) => client.until(1)));

    await close();

    await Promise.all(clients.map((client) => expectEnd(driver, client, 'shutdown')));
    expect(seen.seen).toEqual(Array(20).fill('shutdown'));
  });
});

describe.each(DRIVERS)('$name: StreamRegistry.close()', (driver) => {
  const start = useFeeds();

  it('closes matching streams cleanly, and resolves to their number when they are closed', async () => {
    const seen = new Recorder();
    const farewell = deferred();
    const names = new WeakMap<StreamConnection, string>();
    const { open, registry } = await start(driver, {
      feed({ stream, name }) {
        names.set(stream, name);
        stream.hooks(ends(seen));
        if (name === 'a') {
          stream.hooks({
            async beforeClose() {
              await farewell.promise;
              await stream.send('bye');
            },
          });
        }
        return endless();
      },
    });
    const clients = [open('/feed/a'), open('/feed/a'), open('/feed/b')];
    await Promise.all(clients.map((client) => client.until(1)));

    const closed = registry.close((stream) => names.get(stream) === 'a');
    farewell.resolve();

    expect(await closed).toBe(2);
    expect(seen.seen).toEqual(['server-closed', 'server-closed']);
    expect(registry.size).toBe(1);
    for (const client of clients.slice(0, 2)) {
      await expectEnd(driver, client, 'server-closed');
      expect(client.records).toEqual(['x', 'bye']);
    }
    expect(clients[2]?.ending).toBeUndefined();
    expect(await registry.close()).toBe(1);
  });
});
