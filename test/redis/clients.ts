import { Redis } from 'ioredis';
import { Redis as OlderRedis } from 'ioredis-older';
import { Redis as Valkey } from 'iovalkey';
import { createClient } from 'redis';
import { createClient as createOlderClient } from 'redis-older';
import type { RedisBrokerOptions } from '../../lib/redis/index.js';

/** Returns what a broker needs to connect to the server at a URL, for each kind of client. */
export const CLIENTS = {
  'a URL': (url: string) => ({ url }),
  'a client of redis': (url: string) => ({ client: createClient({ url }) }),
  'a client of redis 5': (url: string) => ({ client: createOlderClient({ url }) }),
  'a client of ioredis': (url: string) => ({ client: new Redis(url, { lazyConnect: true }) }),
  'a client of ioredis 5': (url: string) => ({ client: new OlderRedis(url, { lazyConnect: true }) }),
  'a client of iovalkey': (url: string) => ({ client: new Valkey(url, { lazyConnect: true }) }),
} satisfies Readonly<Record<string, (url: string) => RedisBrokerOptions>>;
