import { Redis } from 'ioredis';
import type { Broker } from '../../../lib/index.js';
import { NatsBroker } from '../../../lib/nats/index.js';
import { PostgresBroker } from '../../../lib/postgres/index.js';
import { RedisBroker } from '../../../lib/redis/index.js';

/** Longer than any test, so that what a client misses was lost, and not evicted. */
export const HISTORY = { limit: 100_000, ttl: 3_600_000 };

/** The broker of a process, as its environment says. */
export function brokerOfProcess(): Broker {
  const { NATS_URL, POSTGRES_URL, REDIS_URL = '', CLIENT, TAIL = 'read', TRUST } = process.env;
  const trustRestarts = TRUST === 'yes';
  if (NATS_URL) {
    return new NatsBroker({ servers: NATS_URL, trustRestarts });
  }
  if (POSTGRES_URL) {
    return new PostgresBroker({ url: POSTGRES_URL, trustRestarts });
  }
  const tail = TAIL as 'read' | 'pubsub';
  return CLIENT === 'ioredis'
    ? new RedisBroker({ client: new Redis(REDIS_URL, { lazyConnect: true }), tail, trustRestarts })
    : new RedisBroker({ url: REDIS_URL, tail, trustRestarts });
}
