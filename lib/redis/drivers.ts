import { isNotInstalled } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import type { Driver, OnLost, Wire } from './driver.js';
import { type IoRedis, type IoRedisCluster, IoRedisClusterDriver, IoRedisDriver } from './ioredis.js';
import {
  type NodeRedis,
  type NodeRedisCluster,
  NodeRedisClusterDriver,
  NodeRedisDriver,
  type NodeRedisSentinel,
  NodeRedisSentinelDriver,
} from './node-redis.js';

const CLIENT = 'the package redis (version 5 or newer), ioredis (version 5 or newer) or iovalkey';

/** Returns the driver of a client, or of a URL. Clients are told apart by their methods, so that no driver has to be installed. */
export function driverOf({ client, url }: { readonly client?: object; readonly url?: string }): Driver {
  if (url !== undefined) {
    return new UrlDriver(url);
  }
  const has = (name: string): boolean => typeof (client as Record<string, unknown>)[name] === 'function';
  if (has('call') && has('duplicate') && has('disconnect')) {
    return has('nodes') ? new IoRedisClusterDriver(client as IoRedisCluster) : new IoRedisDriver(client as IoRedis);
  }
  if (has('sendCommand') && has('duplicate') && has('destroy')) {
    if (has('nodeClient')) {
      return new NodeRedisClusterDriver(client as NodeRedisCluster);
    }
    return has('getMasterNode')
      ? new NodeRedisSentinelDriver(client as NodeRedisSentinel)
      : new NodeRedisDriver(client as NodeRedis);
  }
  throw new StreamError('invalid-option', `new RedisBroker(): "client" must be a client of ${CLIENT}`);
}

/** One server at a URL. The package redis is loaded when it is needed. */
class UrlDriver implements Driver {
  readonly cluster = false;
  readonly server: string;

  constructor(private readonly url: string) {
    const { hostname, port } = new URL(url);
    this.server = `Redis at ${hostname}:${port || 6379}`;
  }

  async connect(key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    const { createClient } = await importRedis();
    const client = createClient({ url: this.url }) as unknown as NodeRedis;
    return new NodeRedisDriver(client).connect(key, timeout, onLost, track);
  }
}

async function importRedis(): Promise<typeof import('redis')> {
  try {
    return await import('redis');
  } catch (error) {
    if (isNotInstalled('redis', error)) {
      throw new StreamError(
        'module-missing',
        'new RedisBroker(): "url" needs the package redis. Install it (npm install redis), or pass a "client"',
      );
    }
    throw error;
  }
}
