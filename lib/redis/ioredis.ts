import { type Driver, type OnLost, type OnMessage, serverAt, type Wire } from './driver.js';
import { slotOf } from './log-keys.js';

/** The used part of a client of ioredis, or of iovalkey. */
export interface IoRedis {
  readonly options: IoRedisOptions;
  readonly stream?: { cork(): void; uncork(): void; destroy(): void } | undefined;
  call(command: string, ...args: string[]): Promise<unknown>;
  ssubscribe(...channels: string[]): Promise<unknown>;
  sunsubscribe(...channels: string[]): Promise<unknown>;
  duplicate(options: object): IoRedis;
  connect(): Promise<unknown>;
  disconnect(): void;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

/** The used part of a client for a Cluster of ioredis. */
export interface IoRedisCluster {
  readonly isCluster: true;
  /** The addresses of the servers of each slot, the master first. */
  readonly slots: readonly (readonly string[] | undefined)[];
  readonly startupNodes?: readonly unknown[];
  duplicate(nodes: never[], options: object): IoRedisCluster;
  connect(): Promise<unknown>;
  disconnect(): void;
  nodes(role: 'all'): IoRedis[];
  on(event: string, listener: (...args: never[]) => void): unknown;
}

interface IoRedisOptions {
  readonly host?: string | null;
  readonly port?: number | null;
  readonly path?: string | null;
  readonly sentinels?: readonly unknown[] | null;
  readonly name?: string | null;
  readonly tls?: unknown;
}

/** Nothing is queued, sent again or connected again by the driver: the broker has to know what became of every command. */
const OPTIONS = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  // The broker finds out itself whether the server is loading, or a replica.
  enableReadyCheck: false,
  maxRetriesPerRequest: null,
  // The broker closes the socket itself. After that, the timer of ioredis would keep the process running.
  disconnectTimeout: 1,
  retryStrategy: () => null,
  sentinelRetryStrategy: () => null,
  reconnectOnError: null,
  commandTimeout: undefined,
  socketTimeout: undefined,
  blockingTimeout: undefined,
  // Both protocols have the same answers, but only this one has the same ones for all drivers.
  protocol: 2,
  stringNumbers: false,
  keyPrefix: '',
  readOnly: false,
  monitor: false,
};

/** One server, or the master that Sentinels name. */
export class IoRedisDriver implements Driver {
  readonly cluster = false;
  readonly server: string;

  constructor(private readonly client: IoRedis) {
    const { host, port, path, sentinels, name, tls } = client.options;
    this.server = sentinels ? `Redis "${name}" of the Sentinels` : serverAt(path ?? `${host}:${port}`, Boolean(tls));
  }

  connect(_key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    // All Sentinels are asked within the time, also if some do not answer.
    const share = Math.ceil(timeout / ((this.client.options.sentinels?.length ?? 0) + 1));
    return connected(this.client, share, onLost, track);
  }
}

/** A Cluster. Its servers are asked again for every connection, since slots move. */
export class IoRedisClusterDriver implements Driver {
  readonly cluster = true;
  readonly server = 'The Redis Cluster';

  constructor(private readonly client: IoRedisCluster) {}

  async connect(key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    const topology = this.client.duplicate([], {
      lazyConnect: true,
      clusterRetryStrategy: () => null,
      enableReadyCheck: false,
      slotsRefreshTimeout: timeout,
    });
    let reason: unknown;
    topology.on('error', (error: unknown) => {
      reason = error;
    });
    track(() => topology.disconnect());
    try {
      await topology.connect().catch((error: unknown) => Promise.reject(lastErrorOf(reason) ?? error));
      const address = topology.slots[slotOf(key)]?.[0];
      const node = topology.nodes('all').find(({ options: { host, port } }) => `${host}:${port}` === address);
      if (!node) {
        throw new Error(`no server has the slot ${slotOf(key)}`);
      }
      return await connected(node, timeout, onLost, track);
    } finally {
      topology.disconnect();
    }
  }
}

/** The error that says most: the one of the last server that was asked. */
function lastErrorOf(error: unknown): unknown {
  return (error as { readonly lastNodeError?: unknown } | undefined)?.lastNodeError ?? error;
}

async function connected(
  client: IoRedis,
  timeout: number,
  onLost: OnLost,
  track: (destroy: () => void) => void,
): Promise<Wire> {
  const copy = client.duplicate({ ...OPTIONS, connectTimeout: timeout, sentinelCommandTimeout: timeout });
  let reason: unknown;
  copy.on('error', (error: unknown) => {
    reason = error;
  });
  copy.on('close', () => onLost(reason ?? new Error('the connection was closed')));
  const wire = new IoRedisWire(copy);
  track(() => wire.destroy());
  // The error of connect() says only that the connection was closed.
  await copy.connect().catch((error: unknown) => Promise.reject(reason ?? error));
  return wire;
}

class IoRedisWire implements Wire {
  private corked = false;
  /** One listener of the client serves all channels. */
  private readonly listeners = new Map<string, OnMessage>();

  constructor(private readonly client: IoRedis) {
    client.on('smessage', (channel: string, message: string) => this.listeners.get(channel)?.(message, channel));
  }

  send(args: string[]): Promise<unknown> {
    this.cork();
    return this.client.call(...(args as [string, ...string[]]));
  }

  subscribe(channels: readonly string[], listener: OnMessage): Promise<unknown> {
    for (const channel of channels) {
      this.listeners.set(channel, listener);
    }
    return this.client.ssubscribe(...channels);
  }

  unsubscribe(channels: readonly string[]): Promise<unknown> {
    for (const channel of channels) {
      this.listeners.delete(channel);
    }
    return this.client.sunsubscribe(...channels);
  }

  destroy(): void {
    this.client.disconnect();
    // disconnect() waits for the server to close its side.
    this.client.stream?.destroy();
  }

  /** The commands of one turn of the event loop are written at once. */
  private cork(): void {
    const { stream } = this.client;
    if (!this.corked && stream) {
      this.corked = true;
      stream.cork();
      setImmediate(() => {
        this.corked = false;
        stream.uncork();
      });
    }
  }
}
