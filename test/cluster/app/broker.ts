import { Redis } from 'ioredis';
import { RedisBroker } from '../../../lib/redis/index.js';

/** Longer than any test, so that what a client misses was lost, and not evicted. */
export const HISTORY = { limit: 100_000, ttl: 3_600_000 };

/** The broker of a process, as its environment says. */
export function redisBroker(): RedisBroker {
  const { REDIS_URL = '', CLIENT, TAIL = 'read' } = process.env;
  const tail = TAIL as 'read' | 'pubsub';
  return CLIENT === 'ioredis'
    ? new RedisBroker({ client: new Redis(REDIS_URL, { lazyConnect: true }), tail })
    : new RedisBroker({ url: REDIS_URL, tail });
}
