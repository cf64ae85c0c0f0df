import { RedisBroker } from '../../lib/redis/index.js';
import { freePort } from '../support/nginx.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { eventually } from './store.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 100, ttl: 3_600_000 };
const LONG_MS = 60_000;

function figures(entries: Record<string, number>): ReadonlyMap<string, number> {
  return new Map(Object.entries(entries));
}

describeWith('redis-server')('The roster of a RedisBroker', () => {
  let server: RedisServer;
  let broker: RedisBroker;
  beforeEach(async () => {
    server = await RedisServer.start();
    broker = new RedisBroker({ url: server.url });
  });
  afterEach(async () => {
    await broker.close();
    await server.stop();
  });

  const put = (entries: Record<string, number>, ttl = LONG_MS): Promise<boolean> =>
    broker.roster.put('orders', 'a', figures(entries), ttl);

  /** Returns the number of connections, without that of `redis-cli`. */
  async function connections(): Promise<number> {
    return (await server.cli('client', 'list')).split('\n').length - 1;
  }

  it('has one key for each process and one for the log, all of which expire', async () => {
    await put({ red: 1 });
    await broker.roster.put('orders', 'b', figures({ red: 1 }), 300);

    const keys = (await server.cli('keys', '*')).split('\n').toSorted();
    expect(keys).toEqual(['ns:{orders}:who', 'ns:{orders}:who:a', 'ns:{orders}:who:b']);
    expect(Number(await server.cli('pttl', 'ns:{orders}:who'))).toBeGreaterThan(300);
    expect(Number(await server.cli('pttl', 'ns:{orders}:who:a'))).toBeGreaterThan(300);

    await put({}, 0);
    await eventually(async () => (await server.cli('dbsize')) === '0');
  });

  it('takes a process for a new one if a restart of Redis has lost its newest figures, and drops the older ones', async () => {
    await put({ red: 1, blue: 1 });
    await server.cli('save');
    await put({ red: 2, green: 1 });
    await server.restart();

    expect(await put({ black: 1 })).toBe(false);

    expect(await broker.roster.list('orders', ['red', 'blue', 'green', 'black'])).toEqual(
      new Map([['a', figures({ black: 1 })]]),
    );
    expect(await put({})).toBe(true);
  });

  it('takes a process for a new one if Redis has evicted its figures', async () => {
    await put({ red: 1 });
    await server.cli('del', 'ns:{orders}:who:a');

    expect(await broker.roster.list('orders', ['red'])).toEqual(new Map([['a', new Map()]]));
    expect(await put({ blue: 1 })).toBe(false);
  });

  it('does not take a process for a new one because the one before it with the same name has called more often', async () => {
    const before = new RedisBroker({ url: server.url });
    await before.roster.put('orders', 'a', figures({ red: 1 }), LONG_MS);
    await before.roster.put('orders', 'a', figures({ red: 2 }), LONG_MS);
    await before.close();

    expect(await put({ blue: 1 })).toBe(true);
    expect(await put({ blue: 2 })).toBe(true);
  });

  it('keeps no connection for a log that is not open, and has none of its own for others', async () => {
    await Promise.all(['orders', 'prices', 'chat'].map((log) => broker.roster.put(log, 'a', new Map(), LONG_MS)));
    await eventually(async () => (await connections()) === 0);
    expect(broker.status().connected).toBe(false);

    await broker.open('log', RETENTION);
    await Promise.all(['orders', 'log'].map((log) => broker.roster.put(log, 'a', figures({ red: 1 }), LONG_MS)));
    await Promise.all(['orders', 'log'].map((log) => broker.roster.list(log, ['red'])));

    expect(await connections()).toBe(1);
    expect(broker.status().connected).toBe(true);
  });

  it('keeps its figures through a lost connection', async () => {
    await broker.open('orders', RETENTION);
    await put({ red: 1 });
    await server.cli('client', 'kill', 'type', 'normal');

    await eventually(() => put({}).catch(() => false));
    expect(await broker.roster.list('orders', ['red'])).toEqual(new Map([['a', figures({ red: 1 })]]));
  });

  it('rejects if Redis cannot be reached in time, has no memory left, or the broker is closed', async () => {
    const unreachable = new RedisBroker({ url: `redis://127.0.0.1:${await freePort()}`, timeout: 300 });
    const failure = { code: 'broker-unavailable', statusCode: 503 };
    await expect(unreachable.roster.put('orders', 'a', new Map(), LONG_MS)).rejects.toMatchObject(failure);
    await expect(unreachable.roster.list('orders', ['red'])).rejects.toMatchObject(failure);

    await server.cli('config', 'set', 'maxmemory', '1');
    await expect(put({ red: 1 })).rejects.toMatchObject({
      ...failure,
      message: expect.stringContaining('OOM') as string,
    });

    await broker.close();
    await expect(put({ red: 1 })).rejects.toMatchObject({
      ...failure,
      message: expect.stringContaining('the broker is closed') as string,
    });
  });
});
