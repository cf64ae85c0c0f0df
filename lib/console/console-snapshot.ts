import type { OpenStream } from '../connection/open-stream.js';
import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { Hub } from '../hub/hub.js';
import { type ConsoleHub, type HubCounts, hubsOf, type RateOf, shownHubs } from './console-hubs.js';
import type { ConsoleQuery } from './console-query.js';
import { rowsOf } from './console-rows.js';
import type { ConsoleRuns } from './console-runs.js';
import type { EndedStream, RecentStreams } from './recent-streams.js';
import { slowClientsOf } from './slow-clients.js';
import { PROTOCOLS } from './stream-description.js';

/** How many routes and formats are listed by name. The others are only counted. */
const NAMED = 8;

/** The shortest period for which a rate is calculated, in seconds. For a shorter period, the last rate is used, as the result would be too inexact. */
const SHORTEST_S = 0.5;

/** The figures that the charts show for one second. Rates are per second, and unknown in the first sample. */
export interface ConsoleSample {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly open: number;
  /** The bytes that all streams have sent, including those that are closed. */
  readonly bytes: number;
  readonly queue: number;
  readonly byteRate: number | null;
  readonly eventRate: number | null;
}

/** The parts of the application that a snapshot is taken of. */
export interface ConsoleSubject {
  readonly registry: StreamRegistry;
  readonly hubs: Iterable<Hub>;
  readonly counts: HubCounts;
  readonly runs: ConsoleRuns;
  readonly recent: RecentStreams;
  /** Returns whether a stream is a feed of the console itself. */
  readonly isOwn: (stream: OpenStream) => boolean;
}

/** The streams and hubs at one moment, for all viewers. */
export class ConsoleSnapshot {
  readonly sample: ConsoleSample;
  /** The streams that have ended, newest last. */
  private readonly ended: readonly EndedStream[];
  private readonly hubs: readonly ConsoleHub[];
  /** What does not depend on the query of a viewer. */
  private readonly common: object;
  /** The messages by query: viewers with the same query share one. */
  private readonly messages = new Map<string, string>();
  private readonly streams: readonly OpenStream[];
  /** The time on the clock of the streams. */
  private readonly now: number;

  constructor(
    private readonly subject: ConsoleSubject,
    before: ConsoleSnapshot | undefined,
  ) {
    const { registry, recent } = subject;
    const at = Date.now();
    this.streams = [...registry.open];
    this.ended = recent.newest();
    this.now = registry.clock.read();
    const rateOf = rateSince(before && (at - before.sample.at) / 1000);
    this.hubs = hubsOf(subject.hubs, before?.hubs, { rateOf, counts: subject.counts });
    const { bytes, ended } = registry.snapshot().totals;
    this.sample = {
      at,
      open: this.streams.length,
      bytes,
      queue: this.streams.reduce((sum, { bufferedAmount }) => sum + bufferedAmount, 0),
      byteRate: rateOf(bytes, before?.sample.bytes, before?.sample.byteRate),
      eventRate: before ? this.hubs.reduce((sum, { rate }) => sum + (rate ?? 0), 0) : null,
    };
    this.common = {
      ...this.sample,
      ...shownHubs(this.hubs),
      ...subject.runs.shown(at),
      own: this.streams.filter((stream) => subject.isOwn(stream)).length,
      by: { ...this.count(), reason: named(new Map(Object.entries(ended))) },
      slow: slowClientsOf(this.streams, registry.clock.now()),
      errors: recent.errors.newest(),
    };
  }

  /** The number of the stream that ended last. */
  get lastEnded(): number {
    return this.ended.at(-1)?.n ?? 0;
  }

  /**
   * Returns the message for viewers with this query.
   * @param after the number of the last ended stream that they know
   */
  message(query: ConsoleQuery, after: number): string {
    const key = JSON.stringify([query, after]);
    let message = this.messages.get(key);
    if (message === undefined) {
      const ended = this.ended.filter(({ n }) => n > after);
      const rows = rowsOf(this.streams, query, { now: this.now, isOwn: this.subject.isOwn });
      message = JSON.stringify({ ...this.common, ended, ...rows });
      this.messages.set(key, message);
    }
    return message;
  }

  private count(): Record<'route' | 'protocol' | 'format', Names> {
    const by = { route: new Map(), protocol: new Map(), format: new Map() };
    const add = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
    for (const { route, protocol, format } of this.streams) {
      add(by.route, route);
      add(by.protocol, PROTOCOLS[protocol]);
      add(by.format, format ?? 'not known yet');
    }
    return { route: named(by.route), protocol: named(by.protocol), format: named(by.format) };
  }
}

/** How often each of several names occurs, and how many more names there are. */
interface Names {
  readonly named: readonly (readonly [string, number])[];
  readonly others: number;
}

function named(counts: ReadonlyMap<string, number>): Names {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return { named: sorted.slice(0, NAMED), others: Math.max(0, sorted.length - NAMED) };
}

function rateSince(seconds: number | undefined): RateOf {
  return (now, then, earlier) => {
    if (seconds === undefined || then === undefined || seconds < SHORTEST_S) {
      return earlier ?? null;
    }
    return Math.max(0, Math.round(((now - then) / seconds) * 10) / 10);
  };
}
