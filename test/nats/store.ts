import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Broker, BrokerEntry } from '../../lib/index.js';
import { logNames, tokenOf } from '../../lib/nats/names.js';
import { runHeadOf } from '../../lib/nats/run-message.js';
import type { BrokerContractSetup } from '../../lib/testing/index.js';
import { NatsServer } from '../support/nats-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** Returns a broker for the address of a server. */
export type CreateBroker = (url: string) => Broker | Promise<Broker>;

/** What JetStream says of a stream, as far as tests use it. */
interface StreamInfo {
  readonly config: Readonly<Record<string, unknown>>;
  readonly state: { readonly messages: number; readonly first_seq: number; readonly last_seq: number };
}

/** A server whose brokers connect through separate proxies, so that the connections of one broker can be cut. */
export class Store {
  private readonly proxies = new Map<Broker, TcpProxy>();

  private constructor(
    readonly server: NatsServer,
    private readonly createBroker: CreateBroker,
  ) {}

  static async start(createBroker: CreateBroker): Promise<Store> {
    return new Store(await NatsServer.start(), createBroker);
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
        await this.server.kill();
        rmSync(join(this.server.folder, 'js'), { recursive: true, force: true });
        await this.server.restart();
        return this.create();
      },
      lose: async (log) => {
        if (isRun(log)) {
          await this.server.api(`STREAM.PURGE.${RUNS}`, { filter: runSubject(log) });
        } else {
          await this.server.api(`STREAM.DELETE.${streamOf(log)}`);
        }
      },
      cut: (broker) => this.proxies.get(broker)?.cut(),
      rewind: (log, count) => (isRun(log) ? this.rewindRun(log, count) : this.rewind(log, count)),
      freeze: () => this.server.freeze(),
      thaw: () => this.server.thaw(),
      appendRaw: (log, entry) => this.appendRaw(log, entry),
      size: () => this.size(),
      settle: 200,
      timeout: 20_000,
      runs: 10,
      seed: 1,
    };
  }

  private async create(): Promise<Broker> {
    const proxy = await TcpProxy.start(this.server.port);
    const broker = await this.createBroker(`nats://127.0.0.1:${proxy.port}`);
    this.proxies.set(broker, proxy);
    return broker;
  }

  /** Restarts the server without the newest messages, as after a power failure in which they were not written to the disk. */
  private async rewind(log: string, count: number): Promise<void> {
    await this.server.restart(async (server) => {
      const admin = await server.connection();
      const stream = streamOf(log);
      const { config, state } = await server.api<StreamInfo>(`STREAM.INFO.${stream}`);
      const messages: [subject: string, data: Buffer][] = [];
      for (let seq = state.first_seq; seq <= state.last_seq - count; seq++) {
        const { message } = await server.api<{ message: { subject: string; data?: string } }>(
          `STREAM.MSG.GET.${stream}`,
          { seq },
        );
        messages.push([message.subject, Buffer.from(message.data ?? '', 'base64')]);
      }
      await server.api(`STREAM.DELETE.${stream}`);
      await server.api(`STREAM.CREATE.${stream}`, config);
      for (const [subject, data] of messages) {
        await admin.request(subject, data);
      }
    });
  }

  /** Restarts the server without the newest records of a run. Its messages have several records. */
  private async rewindRun(log: string, count: number): Promise<void> {
    await this.server.restart(async (server) => {
      const admin = await server.connection();
      const subject = runSubject(log);
      const payloads: string[] = [];
      for (let seq = 0; ; ) {
        const { message } = await server.api<{ message?: { seq: number; data: string } }>(`STREAM.MSG.GET.${RUNS}`, {
          seq: seq + 1,
          next_by_subj: subject,
        });
        if (!message) {
          break;
        }
        seq = message.seq;
        payloads.push(Buffer.from(message.data, 'base64').toString());
      }
      await server.api(`STREAM.PURGE.${RUNS}`, { filter: subject });
      const last = payloads.map(runHeadOf).reduce((sum, each) => sum + (each?.head.e.length ?? 0), 0) - count;
      for (const payload of payloads) {
        const { head, data } = runHeadOf(payload) ?? {};
        if (head && head.n <= last) {
          const e = head.e.slice(0, last - head.n + 1);
          await admin.request(subject, `${JSON.stringify({ ...head, e })}\n${data}`);
        }
      }
    });
  }

  /** Returns how many messages, streams and consumers there are. */
  private async size(): Promise<number> {
    const { streams, messages, consumers } = await this.server.api<{
      streams: number;
      messages: number;
      consumers: number;
    }>('INFO');
    const { state } = await this.server.api<StreamInfo>(`STREAM.INFO.${RUNS}`);
    return streams + (messages ?? 0) + (consumers ?? 0) + state.messages;
  }

  /** Publishes to the stream, as programs in other languages do. */
  private async appendRaw(log: string, { data, encoding, topic, type, key }: BrokerEntry): Promise<void> {
    const admin = await this.server.connection();
    const head = JSON.stringify({ e: encoding, o: topic, y: type, k: key });
    await admin.request(logNames('ns', log).subject, `${head}\n${data}`);
  }
}

const RUNS = 'ns__0runs';

function isRun(log: string): boolean {
  return log.startsWith('~');
}

function runSubject(log: string): string {
  return `ns.run.${tokenOf(log)}`;
}

/** Returns the stream of a hub. */
function streamOf(log: string): string {
  return logNames('ns', log).stream;
}
