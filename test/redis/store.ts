import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Broker, BrokerEntry } from '../../lib/index.js';
import { runKeysOf } from '../../lib/redis/log-keys.js';
import { APPEND } from '../../lib/redis/scripts.js';
import type { BrokerContractSetup } from '../../lib/testing/index.js';
import { RedisServer } from '../support/redis-server.js';
import { toolPath } from '../support/tools.js';

/** Returns a broker for the URL of a server. */
export type CreateBroker = (url: string) => Broker;

/** A server whose brokers connect through separate proxies, so that the connections of one broker can be cut. */
export class Store {
  private readonly proxies = new Map<Broker, CuttableProxy>();

  private constructor(
    readonly server: RedisServer,
    private readonly createBroker: CreateBroker,
    private readonly publishes: boolean,
  ) {}

  static async start(createBroker: CreateBroker, publishes: boolean): Promise<Store> {
    return new Store(await RedisServer.start(), createBroker, publishes);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.stop()));
    await this.server.stop();
  }

  /** What the contract of brokers needs to control the store. */
  get setup(): BrokerContractSetup {
    return {
      create: () => this.create(),
      shared: true,
      restart: async () => {
        this.forgetSnapshot();
        await this.server.restart();
        return this.create();
      },
      lose: async (log) => void (await this.server.cli('del', streamOf(log))),
      cut: (broker) => this.proxies.get(broker)?.cut(),
      rewind: (log, count) => this.rewind(log, count),
      freeze: () => this.server.freeze(),
      thaw: () => this.server.thaw(),
      appendRaw: (log, entry) => this.appendRaw(log, entry),
      size: async () => Number(await this.server.cli('dbsize')),
      settle: 200,
      timeout: 20_000,
      runs: 20,
      seed: 1,
    };
  }

  private async create(): Promise<Broker> {
    const proxy = await CuttableProxy.start(this.server.port);
    const broker = this.createBroker(`redis://127.0.0.1:${proxy.port}`);
    this.proxies.set(broker, proxy);
    return broker;
  }

  /** Restarts the server with a snapshot from before the newest records were appended. */
  private async rewind(log: string, count: number): Promise<void> {
    const admin = new Redis(this.server.port);
    const { entries, topics } = await entriesOf(admin, streamOf(log));
    // At once, since a broker would begin another epoch in the meantime.
    const rewound = admin.multi().del(streamOf(log), ...topics);
    const epoch = entries[0]?.id.split('-')[0];
    // The log still exists, with its epoch.
    rewound.xadd(streamOf(log), 'MAXLEN', '0', `${epoch}-0`, 'd', '');
    for (const { key, id, fields } of entries.slice(0, -count)) {
      rewound.xadd(key, id, ...fields);
      if (key !== streamOf(log)) {
        rewound.xadd(streamOf(log), 'MAXLEN', '0', id, 'd', '');
      }
    }
    // What brokers append until the restart would have the ids of the records that are removed.
    rewound.call('CLIENT', 'PAUSE', '60000', 'WRITE');
    await rewound.exec();
    await admin.save();
    admin.disconnect();
    await this.server.restart();
  }

  private forgetSnapshot(): void {
    rmSync(join(this.server.folder, 'dump.rdb'), { force: true });
  }

  /** Appends by the script, as programs in other languages do. Its arguments come from the standard input, since they may contain any character. */
  private async appendRaw(log: string, { data, encoding, topic, type, key }: BrokerEntry): Promise<void> {
    const fields = Object.entries({ d: data, e: encoding, o: topic, y: type, k: key })
      .filter((field): field is [string, string] => field[1] !== undefined)
      .flat();
    const channel = this.publishes ? streamOf(log) : '';
    const args = ['EVAL', APPEND.text, '1', streamOf(log), '', '4096', channel, `${fields.length}`, ...fields];
    const child = spawn(toolPath('redis-cli') ?? 'redis-cli', ['-p', `${this.server.port}`, '-e'], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    child.stdin.end(`${args.map(quoted).join(' ')}\n`);
    const [code] = await once(child, 'exit');
    if (code !== 0) {
      throw new Error(`redis-cli has ended with ${code}`);
    }
  }
}

/** Waits until a condition holds. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Entry {
  readonly key: string;
  readonly id: string;
  readonly fields: string[];
}

/** Returns the entries of a log, the oldest first, and the streams of its topics, which have them if the stream of the log is empty. */
async function entriesOf(admin: Redis, stream: string): Promise<{ entries: Entry[]; topics: string[] }> {
  const topics = (await admin.keys('*')).filter((key) => key.startsWith(`${stream}:t:`));
  const keys = (await admin.xlen(stream)) > 0 ? [stream] : topics;
  const entries = await Promise.all(
    keys.map(async (key) => (await admin.xrange(key, '-', '+')).map(([id, fields]) => ({ key, id, fields }))),
  );
  const offsetOf = ({ id }: Entry): number => Number(id.split('-')[1]);
  return { topics, entries: entries.flat().toSorted((a, b) => offsetOf(a) - offsetOf(b)) };
}

function streamOf(log: string): string {
  return runKeysOf('ns', log).stream;
}

/** Returns an argument as redis-cli reads it from its standard input. */
function quoted(arg: string): string {
  const bytes = [...Buffer.from(arg)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`);
  return `"${bytes.join('')}"`;
}

/** Passes connections on to a server. */
class CuttableProxy {
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  static async start(target: number): Promise<CuttableProxy> {
    const server = createServer();
    const proxy = new CuttableProxy(server);
    server.on('connection', (near) => {
      const far = connect(target, '127.0.0.1');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        proxy.sockets.add(from);
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          to.destroy();
          proxy.sockets.delete(from);
        });
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const socket of this.sockets) {
      socket.destroy();
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.cut();
    await closed;
  }
}
