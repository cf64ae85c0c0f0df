import type { StreamHooks, StreamLabels, StreamOptions } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { type Call, expectEnd, useFeeds } from '../../support/transports.js';

const { jest } = import.meta;

interface Request {
  readonly params: { readonly name?: string };
}

const NEVER = new Promise<never>(() => undefined);

async function* endless() {
  yield 'x';
  await NEVER;
}

/** A route whose streams have their name as the label `user`. */
const named: StreamOptions = { labels: ({ params }: Request) => ({ user: params.name ?? '' }) };

describe.each(DRIVERS)('$name: streams with labels', (driver) => {
  const start = useFeeds();

  it.each<[string, StreamOptions, (call: Call) => unknown]>([
    ['an option of the route', named, endless],
    [
      'the handler',
      {},
      ({ stream, name }) => {
        stream.label({ user: name });
        return endless();
      },
    ],
    [
      'the handler while the stream is open',
      {},
      async function* ({ stream, name }) {
        stream.label({ user: 'nobody' });
        yield 'before';
        stream.label({ user: name });
        yield 'x';
        await NEVER;
      },
    ],
  ])('from %s are closed by them, and others are not', async (_, route, feed) => {
    const { open, registry } = await start(driver, { route, feed });
    const clients = ['a', 'a', 'b'].map((name) => open(`/feed/${name}`));
    await Promise.all(clients.map((client) => client.until((records) => records.at(-1) === 'x')));

    expect(await registry.close({ user: 'a' })).toBe(2);

    for (const client of clients.slice(0, 2)) {
      await expectEnd(driver, client, 'server-closed');
    }
    expect(clients[2]?.ending).toBeUndefined();
    expect(registry.size).toBe(1);
    expect(await registry.close({ user: 'a' })).toBe(0);
    expect(await registry.close({ user: 'nobody' })).toBe(0);
    expect(await registry.close({ user: 'b' })).toBe(1);
  });

  it('are closed if they have all of the labels, wherever each of them comes from', async () => {
    const seen: StreamLabels[] = [];
    const hooks: StreamHooks = { onClose: (stream) => void seen.push(stream.labels) };
    const { open, registry } = await start(driver, {
      options: { labels: () => ({ tenant: 't1', user: 'unknown' }), hooks },
      route: named,
      feed({ stream }) {
        stream.label({ room: 'r1' });
        return endless();
      },
    });
    const clients = ['a', 'b'].map((name) => open(`/feed/${name}`));
    await Promise.all(clients.map((client) => client.until(1)));

    expect(await registry.close({ tenant: 't1', user: 'a', room: 'r2' })).toBe(0);
    expect(await registry.close({ tenant: 't1', user: 'a', room: 'r1' })).toBe(1);
    await clients[0]?.ended();
    expect(seen).toEqual([{ tenant: 't1', user: 'a', room: 'r1' }]);
    expect(await registry.close({ tenant: 't1' })).toBe(1);
  });

  it('do not open if they were closed between the guard and the handler, and open later', async () => {
    const guarded = deferred();
    const passing = deferred();
    const called = new Recorder();
    const { open, registry } = await start(driver, {
      route: named,
      async guard() {
        guarded.resolve();
        await passing.promise;
        return true;
      },
      feed({ name }) {
        called.add(name);
        return endless();
      },
    });
    const client = open('/feed/a');
    const other = open('/feed/b');
    await guarded.promise;

    expect(await registry.close({ user: 'a' })).toBe(0);
    passing.resolve();

    const { status, headers, body } = await client.refused();
    expect([status, headers['retry-after']]).toEqual([503, '5']);
    expect(body).toMatchObject({ message: 'The server has just closed this stream: try again later' });
    await other.until(1);
    expect(called.seen).toEqual(['b']);
    const now = Date.now();
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => now + 5_001);
    try {
      await open('/feed/a').until(1);
    } finally {
      clock.mockRestore();
    }
  });

  it('are closed if their handler adds the labels after the close', async () => {
    const labelled = deferred();
    const seen = new Recorder();
    const { open, registry } = await start(driver, {
      async *feed({ stream, name }) {
        stream.hooks({ onClose: (_, { code }) => seen.add(code) });
        yield 'x';
        await labelled.promise;
        stream.label({ user: name });
        await NEVER;
      },
    });
    const client = open('/feed/a');
    await Promise.all([client, open('/feed/b')].map((each) => each.until(1)));

    expect(await registry.close({ user: 'a' })).toBe(0);
    labelled.resolve();

    await expectEnd(driver, client, 'server-closed');
    expect(seen.seen).toEqual(['server-closed']);
    expect(registry.size).toBe(1);
  });

  it('keep their labels after the end, and ignore new ones', async () => {
    const ended = deferred<Call['stream']>();
    const { open } = await start(driver, {
      *feed({ stream }) {
        stream.label({ user: 'a' }).hooks({ onClose: () => ended.resolve(stream) });
        yield 'x';
      },
    });
    await open().ended();

    const stream = await ended.promise;
    expect(stream.label({ user: 'b' }).labels).toEqual({ user: 'a' });
  });
});
