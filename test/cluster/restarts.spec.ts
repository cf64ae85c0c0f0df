import { range } from '../support/hub.js';
import { RedisServer } from '../support/redis-server.js';
import { itWith } from '../support/tools.js';
import { HubPlace } from './hub.place.js';
import { Load } from './load.js';
import { LOG, redisBroker } from './scene.js';
import type { Received } from './sequence.js';

import.meta.jest.setTimeout(120_000);

const itWithRedis = itWith('redis-server');
const PROCESSES = 20;
const CLIENTS_EACH = 10;
/** Less than a page of the history. */
const EVENTS = 300;
/** A script looks for the oldest record, and reads 64 at a time. */
const READ = 1 + Math.ceil(EVENTS / 64);

let server: RedisServer | undefined;
const places: HubPlace[] = [];
const loads: Load[] = [];

afterEach(async () => {
  await Promise.all(loads.splice(0).map((load) => load.stop()));
  await Promise.all(places.splice(0).map((place) => place.close()));
  await server?.stop();
});

/** Starts applications, all at once. */
async function start(url: string, count: number): Promise<HubPlace[]> {
  const started = await Promise.all(
    Array.from({ length: count }, (_, index) => HubPlace.start(`place ${index}`, redisBroker(url, index % 2 === 1))),
  );
  places.push(...started);
  return started;
}

/** How many times Redis has returned records of a log. One read of all events takes {@link READ} times. */
async function reads(redis: RedisServer): Promise<number> {
  return Number(/cmdstat_xrange:calls=(\d+)/.exec(await redis.cli('INFO', 'commandstats'))?.[1]);
}

describe('Twenty applications', () => {
  itWithRedis('that start at once, and to which clients come back at once, read the log once each', async () => {
    server = await RedisServer.start();
    const redis = server;
    const [first] = await start(redis.url, 1);
    const ids = await Promise.all(range(1, EVENTS).map((n) => first?.publish(String(n))));

    const before = await reads(redis);
    const early = await start(redis.url, PROCESSES);
    const idle = (await reads(redis)) - before;
    await Promise.all(early.map((place) => place.close()));
    const between = await reads(redis);
    const started = await start(redis.url, PROCESSES);
    const clients = started.flatMap((place) => Array.from({ length: CLIENTS_EACH }, () => place));
    const received = await Promise.all(clients.map((place, index) => listen(place, ids[index], EVENTS)));

    expect(received).toEqual(clients.map((_, index) => range(index + 2, EVENTS).map(String)));
    expect((await reads(redis)) - between - idle).toBeLessThanOrEqual(READ * PROCESSES);
  });
});

/** Resolves to the data that a client receives after an id, up to the last event. */
async function listen(place: HubPlace, after: string | undefined, last: number): Promise<unknown[]> {
  const received: unknown[] = [];
  const leaving = new AbortController();
  const onEvent = ({ data }: Received): void => {
    received.push(data);
    if (data === String(last)) {
      leaving.abort();
    }
  };
  await place.listen(after, onEvent, leaving.signal);
  return received;
}

describe('Two releases of an application, of which one keeps fewer events,', () => {
  itWithRedis('run at the same time, and no client misses an event', async () => {
    server = await RedisServer.start();
    const { url } = server;
    const fewer = { hub: { history: { limit: 300 } } };
    places.push(
      await HubPlace.start('older', redisBroker(url, false)),
      await HubPlace.start('newer', redisBroker(url, true, { tailBuffer: 300 }), fewer),
      await HubPlace.start('newer too', redisBroker(url, false, { tailBuffer: 300 }), fewer),
    );
    const load = new Load(places);
    loads.push(load);
    await load.running();
    await load.when('the log was trimmed', () => load.published.length > 1_000);
    await load.delivering();
    const { faults, resets } = await load.verdict();

    expect(faults).toEqual([]);
    expect(resets).toEqual(load.clients.map(() => 0));
    expect(Number(await server.cli('XLEN', LOG))).toBeLessThan(load.published.length);
  });
});

describe('Applications that did not run for longer than the time limit of their broker', () => {
  itWithRedis('take the answers that have arrived in the meantime, and reject no event', async () => {
    server = await RedisServer.start();
    const { url } = server;
    for (const ioredis of [false, true]) {
      places.push(await HubPlace.start(`ioredis: ${ioredis}`, redisBroker(url, ioredis, { timeout: 2_000 })));
    }
    const load = new Load(places);
    loads.push(load);
    await load.running();
    const bursts = load.places.map((place) => load.burst(place, 10));
    // Blocks the event loop, as a long computation does, or a process that is suspended.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_500);
    await Promise.all(bursts);
    await load.delivering();
    const { faults, resets, rejected, unknown } = await load.verdict();

    expect(faults).toEqual([]);
    expect(resets).toEqual(load.clients.map(() => 0));
    expect([rejected, unknown]).toEqual([0, 0]);
  });
});
