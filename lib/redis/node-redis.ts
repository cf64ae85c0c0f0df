import { type Driver, type OnLost, type OnMessage, serverAt, type Wire } from './driver.js';
import { slotOf } from './log-keys.js';

/** The used part of a client of node-redis. */
export interface NodeRedis {
  readonly options?: NodeRedisOptions | undefined;
  sendCommand(args: string[]): Promise<unknown>;
  sSubscribe(channels: readonly string[], listener: OnMessage): Promise<unknown>;
  sUnsubscribe(channels: readonly string[], listener: OnMessage): Promise<unknown>;
  duplicate(options: object): NodeRedis;
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

interface NodeRedisOptions {
  readonly url?: string | undefined;
  readonly socket?:
    | { readonly host?: string; readonly port?: number; readonly path?: string; readonly tls?: boolean }
    | undefined;
}

interface NodeRedisMaster {
  readonly address: string;
}

/** The used part of a client for a Cluster of node-redis. */
export interface NodeRedisCluster {
  readonly masters: readonly NodeRedisMaster[];
  readonly slots: readonly ({ readonly master: NodeRedisMaster } | undefined)[];
  duplicate(options: object): NodeRedisCluster;
  connect(): Promise<unknown>;
  destroy(): void;
  nodeClient(node: NodeRedisMaster): NodeRedis | Promise<NodeRedis>;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

/** Nothing is queued, sent again or connected again by the driver: the broker has to know what became of every command. */
const OPTIONS = {
  disableOfflineQueue: true,
  // The default time-out ends a read that blocks.
  commandOptions: { timeout: undefined },
  commandsQueueMaxLength: undefined,
  pingInterval: undefined,
  // Both protocols have the same answers, but only this one has the same ones for all drivers.
  RESP: 2,
  clientSideCache: undefined,
  emitInvalidate: false,
  maintNotifications: 'disabled',
  keyPrefix: undefined,
  readonly: false,
};

/** One server. */
export class NodeRedisDriver implements Driver {
  readonly cluster = false;
  readonly server: string;

  constructor(private readonly client: NodeRedis) {
    const { host = 'localhost', port = 6379, path, tls = false } = client.options?.socket ?? {};
    this.server = serverAt(path ?? `${host}:${port}`, tls);
  }

  connect(_key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    return connected(this.client, timeout, onLost, track);
  }
}

/** A Cluster. Its servers are asked again for every connection, since slots move. */
export class NodeRedisClusterDriver implements Driver {
  readonly cluster = true;
  readonly server = 'The Redis Cluster';

  constructor(private readonly client: NodeRedisCluster) {}

  async connect(key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire> {
    const topology = this.client.duplicate({ minimizeConnections: true });
    topology.on('error', () => undefined);
    topology.on('node-error', () => undefined);
    track(() => destroyed(topology));
    try {
      await topology.connect();
      const master = topology.slots[slotOf(key)]?.master;
      if (!master) {
        throw new Error(`no server has the slot ${slotOf(key)}`);
      }
      return await connected(await topology.nodeClient(master), timeout, onLost, track);
    } finally {
      destroyed(topology);
    }
  }
}

/** Connects a copy of a client. */
export async function connected(
  client: NodeRedis,
  timeout: number,
  onLost: OnLost,
  track: (destroy: () => void) => void,
): Promise<Wire> {
  const { signal, abort } = abortable();
  const copy = client.duplicate({
    ...OPTIONS,
    socket: {
      ...client.options?.socket,
      reconnectStrategy: false,
      connectTimeout: timeout,
      socketTimeout: undefined,
      signal,
    },
  });
  copy.on('error', onLost);
  copy.on('end', () => onLost(new Error('the connection was closed')));
  track(abort);
  await copy.connect();
  return new NodeRedisWire(copy, abort);
}

/** Returns a signal that destroys a socket. The driver itself does not end a socket that is connecting. */
function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

class NodeRedisWire implements Wire {
  private readonly listeners = new Map<string, OnMessage>();

  constructor(
    private readonly client: NodeRedis,
    private readonly abort: () => void,
  ) {}

  send(args: string[]): Promise<unknown> {
    return this.client.sendCommand(args);
  }

  subscribe(channels: readonly string[], listener: OnMessage): Promise<unknown> {
    for (const channel of channels) {
      this.listeners.set(channel, listener);
    }
    return this.client.sSubscribe(channels, listener);
  }

  async unsubscribe(channels: readonly string[]): Promise<void> {
    const [first = ''] = channels;
    const listener = this.listeners.get(first);
    for (const channel of channels) {
      this.listeners.delete(channel);
    }
    if (listener) {
      // Without the listener, the driver would not subscribe again until this is answered.
      await this.client.sUnsubscribe(channels, listener);
    }
  }

  destroy(): void {
    destroyed(this.client);
    this.abort();
  }
}

/** Older versions throw if a client is not connected. */
function destroyed(client: { destroy(): void }): void {
  try {
    client.destroy();
  } catch {
    // It is closed already.
  }
}
