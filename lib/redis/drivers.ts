import { StreamError } from '../util/errors.js';
import type { Driver } from './driver.js';
import { type IoRedis, type IoRedisCluster, IoRedisClusterDriver, IoRedisDriver } from './ioredis.js';
import { type NodeRedis, type NodeRedisCluster, NodeRedisClusterDriver, NodeRedisDriver } from './node-redis.js';
import { type NodeRedisSentinel, NodeRedisSentinelDriver, UrlDriver } from './node-redis-loaded.js';

const CLIENT = 'the package redis (version 5 or newer), ioredis (version 5 or newer) or iovalkey';

/** Returns the driver of a client, or of a URL. Clients are told apart by their methods, so that no driver has to be installed. */
export function driverOf({ client, url }: { readonly client?: object; readonly url?: string }): Driver {
  if (url !== undefined) {
    return new UrlDriver(url);
  }
  const has = (...names: string[]): boolean =>
    names.every((name) => typeof (client as Record<string, unknown>)[name] === 'function');
  if (has('call', 'duplicate', 'disconnect')) {
    return has('nodes') ? new IoRedisClusterDriver(client as IoRedisCluster) : new IoRedisDriver(client as IoRedis);
  }
  if (has('sendCommand', 'getSentinelNode')) {
    return new NodeRedisSentinelDriver(client as NodeRedisSentinel);
  }
  if (has('sendCommand', 'duplicate', 'destroy')) {
    return has('nodeClient')
      ? new NodeRedisClusterDriver(client as NodeRedisCluster)
      : new NodeRedisDriver(client as NodeRedis);
  }
  throw new StreamError('invalid-option', `new RedisBroker(): "client" must be a client of ${CLIENT}`);
}
