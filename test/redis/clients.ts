import { Redis } from 'ioredis';
import { createClient } from 'redis';
import type { RedisBrokerOptions } from '../../lib/redis/index.js';

/** The options of a broker for the URL of a server, with each driver. */
export const CLIENTS: Readonly<Record<'url' | 'redis' | 'ioredis', (url: string) => RedisBrokerOptions>> = {
  url: (url) => ({ url }),
  redis: (url) => ({ client: createClient({ url }) }),
  ioredis: (url) => ({ client: new Redis(url, { lazyConnect: true }) }),
};
