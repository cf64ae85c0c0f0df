import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { StreamConnection } from '../connection/stream-connection.js';
import { event } from '../event/event.js';
import type { Hub } from '../hub/hub.js';
import { HubCounts } from './console-hubs.js';
import type { ConsoleQuery } from './console-query.js';
import type { ConsoleRuns } from './console-runs.js';
import { type ConsoleSample, ConsoleSnapshot, type ConsoleSubject } from './console-snapshot.js';
import { RecentStreams } from './recent-streams.js';

const INTERVAL_MS = 1_000;
/** The period that the charts show, in milliseconds. */
const REMEMBERED_MS = 120_000;

interface Viewer {
  readonly stream: StreamConnection;
  readonly query: ConsoleQuery;
  /** The number of the last ended stream that was sent. */
  known: number;
}

/**
 * Takes a snapshot of all streams and hubs once a second for all viewers. Without viewers, it only keeps the streams that ended last, and
 * their errors.
 */
export class ConsoleFeed {
  /** By the id of their stream. */
  private readonly viewers = new Map<string, Viewer>();
  private readonly subject: ConsoleSubject;
  private latest: ConsoleSnapshot | undefined;
  private samples: ConsoleSample[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    readonly streams: StreamRegistry,
    hubs: Iterable<Hub>,
    readonly runs: ConsoleRuns,
  ) {
    const isOwn = ({ id }: { readonly id: string }): boolean => this.viewers.has(id);
    const recent = new RecentStreams(isOwn);
    this.subject = { registry: streams, hubs, counts: new HubCounts(), runs, recent, isOwn };
    streams.observe(recent);
  }

  /** Sends the feed to a viewer: the samples of the last two minutes, a snapshot, and then one snapshot every second. */
  add(stream: StreamConnection, query: ConsoleQuery): void {
    stream.hooks({ onClose: () => void this.viewers.delete(stream.id), onShutdown: () => void stream.close() });
    const alone = this.viewers.size === 0;
    const viewer = { stream, query, known: 0 };
    this.viewers.set(stream.id, viewer);
    this.timer ??= setInterval(() => this.tick(), INTERVAL_MS).unref();
    const snapshot = alone || !this.latest ? this.takeSnapshot() : this.latest;
    void stream.send(event({ type: 'history', data: this.samples }));
    this.send(snapshot, viewer);
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
    for (const viewer of this.viewers.values()) {
      // A slow viewer only needs the newest snapshot.
      if (viewer.stream.bufferedAmount === 0) {
        this.send(snapshot, viewer);
      }
    }
  }

  private send(snapshot: ConsoleSnapshot, viewer: Viewer): void {
    void viewer.stream.send(event({ type: 'snapshot', data: snapshot.message(viewer.query, viewer.known) }));
    viewer.known = snapshot.lastEnded;
  }

  private takeSnapshot(): ConsoleSnapshot {
    const snapshot = new ConsoleSnapshot(this.subject, this.latest);
    this.latest = snapshot;
    const from = snapshot.sample.at - REMEMBERED_MS;
    this.samples = [...this.samples.filter(({ at }) => at > from), snapshot.sample];
    return snapshot;
  }
}
