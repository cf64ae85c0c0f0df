import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { StreamConnection } from '../connection/stream-connection.js';
import { event } from '../event/event.js';
import type { Hub } from '../hub/hub.js';
import type { ConsoleQuery } from './console-query.js';
import { type ConsoleSample, ConsoleSnapshot } from './console-snapshot.js';

const INTERVAL_MS = 1_000;
/** The period that the charts show, in milliseconds. */
const REMEMBERED_MS = 120_000;

/** Takes a snapshot of all streams and hubs once a second for all viewers. Without viewers, it does nothing. */
export class ConsoleFeed {
  private readonly viewers = new Map<StreamConnection, ConsoleQuery>();
  private latest: ConsoleSnapshot | undefined;
  private samples: ConsoleSample[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly registry: StreamRegistry,
    private readonly hubs: Iterable<Hub>,
  ) {}

  /** Sends the feed to a viewer: the samples of the last two minutes, a snapshot, and then one snapshot every second. */
  add(stream: StreamConnection, query: ConsoleQuery): void {
    stream.hooks({ onClose: () => void this.viewers.delete(stream), onShutdown: () => void stream.close() });
    const alone = this.viewers.size === 0;
    this.viewers.set(stream, query);
    this.timer ??= setInterval(() => this.tick(), INTERVAL_MS).unref();
    const snapshot = alone || !this.latest ? this.takeSnapshot() : this.latest;
    void stream.send(event({ type: 'history', data: this.samples }));
    void stream.send(event({ type: 'snapshot', data: snapshot.message(query) }));
  }

  /** Stops taking snapshots. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.latest = undefined;
  }

  private tick(): void {
    if (this.viewers.size === 0) {
      // It does not stop as soon as the last viewer disconnects: a viewer who changes the filter reconnects immediately.
      this.stop();
      return;
    }
    const snapshot = this.takeSnapshot();
    for (const [stream, query] of this.viewers) {
      // A slow viewer only needs the newest snapshot.
      if (stream.bufferedAmount === 0) {
        void stream.send(event({ type: 'snapshot', data: snapshot.message(query) }));
      }
    }
  }

  private takeSnapshot(): ConsoleSnapshot {
    const isOwn = (stream: StreamConnection): boolean => this.viewers.has(stream);
    const snapshot = new ConsoleSnapshot(this.registry, this.hubs, isOwn, this.latest);
    this.latest = snapshot;
    const from = snapshot.sample.at - REMEMBERED_MS;
    this.samples = [...this.samples.filter(({ at }) => at > from), snapshot.sample];
    return snapshot;
  }
}
