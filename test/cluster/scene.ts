import { appendFileSync, readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { type Broker, StreamError } from '../../lib/index.js';
import { RedisBroker, type RedisBrokerOptions } from '../../lib/redis/index.js';
import type { RedisServer } from '../support/redis-server.js';
import type { Verdict } from './delivery.audit.js';
import { HubPlace, type HubPlaceOptions } from './hub.place.js';
import { Load, type LoadOptions } from './load.js';
import type { Published } from './sequence.js';

/** The key of the log of the hub of a scene. */
export const LOG = 'ns:{feed}';

export interface SceneOptions extends LoadOptions, HubPlaceOptions {
  /** Creates the broker of an application, by its index. Default: on Redis, the second with ioredis, and the others with node-redis. */
  broker?(index: number): Broker;
  /** Options of the default brokers. */
  readonly options?: Partial<RedisBrokerOptions>;
}

/** Returns the cells of the tables in a guide. */
function tablesOf(guide: string): readonly (readonly string[])[] {
  return readFileSync(new URL(`../../docs/${guide}.md`, import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.slice(2, -2).split(' | '));
}

const NAMES = ['one', 'two', 'three'];

/** Three applications with one hub on a Redis, clients that stay with one of them, clients that roam between them, and publishers. */
export class Scene {
  private constructor(
    readonly places: readonly HubPlace[],
    readonly load: Load,
  ) {}

  static async start(url: string, { broker, options, hub, once, ...load }: SceneOptions): Promise<Scene> {
    const create = broker ?? ((index: number) => redisBroker(url, index === 1, options));
    const start = (name: string, index: number) => startPlace(name, () => create(index), { hub, once });
    const places = await Promise.all(NAMES.map(start));
    return new Scene(places, new Load(places, load));
  }

  async stop(): Promise<void> {
    await this.load.stop();
    await Promise.all(this.places.map((place) => place.close()));
  }
}

/** How often an application may start again. */
const RESTARTS = 5;

/** Starts an application. Many start at the same time: if the machine is too busy for the time limit of a broker, it starts again. */
async function startPlace(name: string, create: () => Broker, options: HubPlaceOptions): Promise<HubPlace> {
  for (let left = RESTARTS; ; left--) {
    const broker = create();
    try {
      return await HubPlace.start(name, broker, options);
    } catch (error) {
      await broker.close();
      if (left === 0 || !(error instanceof StreamError && error.code === 'broker-unavailable')) {
        throw error;
      }
    }
  }
}

/** A broker for one process. With `ioredis`, the client is only a model for connections, and never connects itself. */
export function redisBroker(url: string, ioredis: boolean, options?: Partial<RedisBrokerOptions>): RedisBroker {
  return new RedisBroker({ ...(ioredis ? { client: new Redis(url, { lazyConnect: true }) } : { url }), ...options });
}

/** What came of a fault. */
export interface Outcome extends Verdict {
  readonly published: readonly Published[];
  /** How long it took from the begin of the fault until new events reached every client, in milliseconds. */
  readonly backMs: number;
}

/** Makes a fault while events are published and received, and waits until they are received again. */
export async function underLoad(
  url: string,
  options: SceneOptions,
  fault: (scene: Scene) => Promise<unknown>,
): Promise<Outcome> {
  const scene = await Scene.start(url, options);
  const { load } = scene;
  try {
    await load.running();
    const since = performance.now();
    await fault(scene);
    await load.delivering();
    const backMs = performance.now() - since;
    return { ...(await load.verdict()), published: load.published, backMs };
  } finally {
    await scene.stop();
  }
}

/** Returns the events that are in the log although publish() rejected them as not taken. */
export async function rejectedInLog(server: RedisServer, { published }: Outcome): Promise<string[]> {
  const log = new Set((await server.cli('-c', 'XRANGE', LOG, '-', '+')).split('\n'));
  return published.flatMap(({ key, outcome }) => (outcome === 'rejected' && log.has(key) ? [key] : []));
}

/**
 * Compares an outcome with its row in a guide. That to Redis has one for both values of `tail`. If the environment names a file, the row that was measured
 * is added to it.
 */
export function compareWithGuide(
  fault: string,
  { acknowledged, rejected, unknown, resets, backMs }: Outcome,
  guide = 'redis',
): void {
  const { FAULT_TABLE } = process.env;
  const name = fault.replace(', with tail: pubsub', '');
  const perClient = [...new Set(resets)].join(' or ');
  const row = [name, perClient, acknowledged, rejected, unknown, `${(backMs / 1_000).toFixed(1)} s`];
  if (FAULT_TABLE && name === fault) {
    appendFileSync(FAULT_TABLE, `| ${row.join(' | ')} |\n`);
  }
  expect(
    tablesOf(guide)
      .filter(([documented]) => documented === name)
      .map(([, count]) => count),
  ).toEqual([perClient]);
}
