import { isNotInstalled } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { type Driver, type OnLost, serverAt, type Wire } from './driver.js';
import { connected, type NodeRedis } from './node-redis.js';

// Drivers that have no client to copy: they load the package redis when they connect.

interface Address {
  readonly host: string;
  readonly port: number;
}

/** The used options of a client for Sentinel. */
interface SentinelOptions {
  readonly name: string;
  readonly sentinelRootNodes: readonly Address[];
  readonly sentinelClientOptions?: { readonly socket?: object };
  readonly nodeClientOptions?: { readonly socket?: object };
  readonly nodeAddressMap?: Readonly<Record<string, Address>> | ((address: string) => Address | undefined);
}

/** The used part of a client for Sentinel of node-redis. */
export interface NodeRedisSentinel {
  duplicate?(options: object): unknown;
}

/** One server at a URL. */
export class UrlDriver implements Driver {
  readonly cluster = false;
  readonly server: string;

  /** A function does not show the password where the broker is printed. */
  private readonly url: () => string;

  constructor(url: string) {
    const { hostname, port, protocol } = new URL(url);
    this.url = () => url;
    this.server = serverAt(`${hostname}:${port || 6379}`, protocol === 'rediss:');
  }

  async connect(_key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    return connected(await newClient({ url: this.url() }), timeout, onLost, track);
  }
}

/** The master that Sentinels name. They are asked for every connection. */
export class NodeRedisSentinelDriver implements Driver {
  readonly cluster = false;
  readonly server: string;
  private readonly options: SentinelOptions;

  constructor(client: NodeRedisSentinel) {
    this.options = optionsOf(client);
    this.server = `Redis "${this.options.name}" of the Sentinels`;
  }

  async connect(_key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    const { nodeClientOptions: options } = this.options;
    const { host, port } = this.mapped(await this.master(timeout, track));
    return connected(
      await newClient({ ...options, socket: { ...options?.socket, host, port } }),
      timeout,
      onLost,
      track,
    );
  }

  /** Asks the Sentinels where the master is, one after the other. All are asked within the time, also if some do not answer. */
  private async master(timeout: number, track: (destroy: () => void) => void): Promise<Address> {
    const { sentinelRootNodes: sentinels } = this.options;
    const share = Math.ceil(timeout / (sentinels.length + 1));
    let reason: unknown;
    for (const sentinel of sentinels) {
      let destroy = (): void => undefined;
      const timer = setTimeout(() => destroy(), share);
      try {
        return await this.masterAt(sentinel, share, (each) => {
          destroy = each;
          track(each);
        });
      } catch (error) {
        reason = error;
      } finally {
        clearTimeout(timer);
      }
    }
    throw reason;
  }

  /** Asks one Sentinel. */
  private async masterAt(
    { host, port }: Address,
    timeout: number,
    track: (destroy: () => void) => void,
  ): Promise<Address> {
    const { name, sentinelClientOptions: options } = this.options;
    const client = await newClient({ ...options, socket: { ...options?.socket, host, port } });
    const wire = await connected(client, timeout, () => undefined, track);
    try {
      const address = (await wire.send(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name])) as readonly string[] | null;
      if (!address) {
        throw new Error(`the Sentinel at ${host}:${port} knows no "${name}"`);
      }
      return { host: `${address[0]}`, port: Number(address[1]) };
    } finally {
      wire.destroy();
    }
  }

  private mapped(address: Address): Address {
    const { nodeAddressMap: map } = this.options;
    const key = `${address.host}:${address.port}`;
    return (typeof map === 'function' ? map(key) : map?.[key]) ?? address;
  }
}

/** Returns the options of a client for Sentinel. They are private, but `duplicate()` passes them to the constructor of the copy. */
function optionsOf(client: NodeRedisSentinel): SentinelOptions {
  let options: Partial<SentinelOptions> = {};
  const prototype = Object.create(client, {
    constructor: {
      value: function Copy(given: Partial<SentinelOptions>): void {
        options = given;
      },
    },
  }) as NodeRedisSentinel;
  (Object.create(prototype) as NodeRedisSentinel).duplicate?.({});
  if (!Array.isArray(options.sentinelRootNodes) || typeof options.name !== 'string') {
    throw new StreamError(
      'invalid-option',
      'new RedisBroker(): "client" is a client for Sentinel of a version of redis that cannot be copied. Install version 6 or newer, or pass a client of ioredis',
    );
  }
  return options as SentinelOptions;
}

async function newClient(options: object): Promise<NodeRedis> {
  const { createClient } = await importRedis();
  return createClient(options) as unknown as NodeRedis;
}

async function importRedis(): Promise<typeof import('redis')> {
  try {
    return await import('redis');
  } catch (error) {
    if (isNotInstalled('redis', error)) {
      throw new StreamError(
        'module-missing',
        'new RedisBroker() needs the package redis for "url". Install it (npm install redis), or pass a "client" of ioredis',
      );
    }
    throw error;
  }
}
