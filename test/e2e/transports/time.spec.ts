import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { expectEnd, useFeeds } from '../../support/transports.js';

const NEVER = new Promise<never>(() => undefined);

async function* silence() {
  await NEVER;
  yield 'never';
}

describe.each(DRIVERS)('$name: as time passes,', (driver) => {
  const start = useFeeds();

  it('a silent stream sends heartbeats, also after chunks', async () => {
    const gate = deferred();
    const { open } = await start(driver, {
      options: { heartbeat: 250, openDelay: 10 },
      async *feed() {
        await gate.promise;
        yield 1;
        await NEVER;
      },
    });
    const client = open();

    await client.untilHeartbeats(2);
    gate.resolve();
    await client.until(1);
    await client.untilHeartbeats(client.beats + 2);

    expect(client.records).toEqual([1]);
  });

  it('heartbeats can be turned off', async () => {
    const { open } = await start(driver, { options: { heartbeat: false, openDelay: 10 }, feed: silence });
    const { open: openOther } = await start(driver, { options: { heartbeat: 250, openDelay: 10 }, feed: silence });
    const client = open();
    await client.answered();

    await openOther().untilHeartbeats(2);

    expect(client.beats).toBe(0);
  });

  it('maxDuration ends a stream cleanly', async () => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      route: { maxDuration: 60 },
      async *feed({ stream }) {
        stream.hooks({
          onClose: (_stream, { code }) => seen.add(code),
          beforeClose: () => stream.send('bye').then(() => undefined),
        });
        yield 'x';
        await NEVER;
      },
    });
    const client = open();

    await expectEnd(driver, client, 'deadline');

    expect(client.records).toEqual(['x', 'bye']);
    expect(await seen.count(1)).toEqual(['deadline']);
  });
});

describe.each(DRIVERS)('$name: limits', (driver) => {
  const start = useFeeds();
  const clientOf = (request: unknown): string =>
    String((request as { headers: Record<string, unknown> }).headers['x-client'] ?? '');

  it('refuse one stream more than limits.connections with 503 and Retry-After, before its handler is called', async () => {
    let called = 0;
    const { open, text, registry } = await start(driver, {
      options: { limits: { connections: 2 } },
      async *feed() {
        called++;
        yield 'x';
        await NEVER;
      },
    });
    await Promise.all([open().until(1), open().until(1)]);

    const { status, headers, body } = await open().refused();

    expect(status).toBe(503);
    expect(headers['retry-after']).toBe('5');
    expect(body).toMatchObject({ statusCode: 503 });
    expect(called).toBe(2);
    expect(registry.size).toBe(2);
    expect(await text('/plain')).toBe('fine');
  });

  it('refuse one stream more than limits.perClient with 429 and Retry-After, and accept other clients', async () => {
    let called = 0;
    const { open } = await start(driver, {
      options: { limits: { perClient: 1, clientOf, retryAfter: 7_000 } },
      async *feed() {
        called++;
        yield 'x';
        await NEVER;
      },
    });
    await open('/feed', { 'x-client': 'a' }).until(1);

    const { status, headers } = await open('/feed', { 'x-client': 'a' }).refused();

    expect(status).toBe(429);
    expect(headers['retry-after']).toBe('7');
    expect(called).toBe(1);
    await open('/feed', { 'x-client': 'b' }).until(1);
  });

  it('identify the clients of limits.perClient by their address', async () => {
    const { open } = await start(driver, {
      options: { limits: { perClient: 1 } },
      async *feed() {
        yield 'x';
        await NEVER;
      },
    });
    await open().until(1);

    expect((await open().refused()).status).toBe(429);
  });

  it('no longer count a stream that is over, however it ended', async () => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      options: {
        limits: { connections: 1, perClient: 1 },
        hooks: { onClose: (_stream, { code }) => seen.add(code) },
      },
      async *feed({ name }) {
        if (name === 'refused') {
          throw new Error('broken');
        }
        yield 'x';
        if (name === 'failing') {
          throw new Error('broken');
        }
        if (name === 'endless') {
          await NEVER;
        }
      },
    });

    for (const round of [0, 1, 2]) {
      const endless = open('/feed/endless');
      await endless.until(1);
      endless.leave();
      await seen.count(4 * round + 1);
      expect((await open('/feed/refused').refused()).status).toBe(500);
      await seen.count(4 * round + 2);
      await expectEnd(driver, open('/feed/failing'), 'error');
      await seen.count(4 * round + 3);
      await expectEnd(driver, open('/feed/short'), 'completed');
      await seen.count(4 * round + 4);
    }

    expect(seen.seen.slice(0, 4)).toEqual(['client-closed', 'error', 'error', 'completed']);
  });
});
