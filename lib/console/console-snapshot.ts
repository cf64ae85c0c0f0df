import type { OpenStream } from '../connection/open-stream.js';
import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { Hub } from '../hub/hub.js';
import type { ConsoleQuery } from './console-query.js';
import { PROTOCOLS, rowsOf } from './console-rows.js';

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

/** A hub in the form that the page shows. */
interface ConsoleHub {
  readonly name: string;
  readonly subscribers: number;
  readonly received: number;
  readonly kept: number;
  readonly rate: number | null;
}

/** The streams and hubs at one moment, for all viewers. */
export class ConsoleSnapshot {
  readonly sample: ConsoleSample;
  private readonly hubs: readonly ConsoleHub[];
  private readonly by: Readonly<Record<'route' | 'protocol' | 'format', Tally>>;
  /** The messages by query: viewers with the same query share one. */
  private readonly messages = new Map<string, string>();

  private readonly streams: readonly OpenStream[];
  /** The time on the clock of the streams. */
  private readonly now: number;

  constructor(
    registry: StreamRegistry,
    hubs: Iterable<Hub>,
    private readonly isOwn: (stream: OpenStream) => boolean,
    before: ConsoleSnapshot | undefined,
  ) {
    const at = Date.now();
    this.streams = [...registry.open];
    this.now = registry.clock.read();
    const seconds = before && (at - before.sample.at) / 1000;
    const rate = (now: number, then: number | undefined, earlier: number | null | undefined): number | null => {
      if (seconds === undefined || then === undefined || seconds < SHORTEST_S) {
        return earlier ?? null;
      }
      return Math.max(0, Math.round(((now - then) / seconds) * 10) / 10);
    };
    this.hubs = [...hubs].map((hub) => {
      const then = before?.hubs.find(({ name }) => name === hub.name);
      return {
        name: hub.name,
        subscribers: hub.size(),
        ...hub.log,
        rate: rate(hub.log.received, then?.received, then?.rate),
      };
    });
    const totals = this.count();
    const { bytes } = registry.snapshot().totals;
    this.by = totals.by;
    this.sample = {
      at,
      open: this.streams.length,
      bytes,
      queue: totals.queue,
      byteRate: rate(bytes, before?.sample.bytes, before?.sample.byteRate),
      eventRate: before ? this.hubs.reduce((sum, hub) => sum + (hub.rate ?? 0), 0) : null,
    };
  }

  /** Returns the message for viewers with this query. */
  message(query: ConsoleQuery): string {
    const key = JSON.stringify(query);
    let message = this.messages.get(key);
    if (message === undefined) {
      const { sample, hubs, by, streams, isOwn, now } = this;
      const own = streams.filter(isOwn).length;
      const tallies = Object.fromEntries(Object.entries(by).map(([name, tally]) => [name, tally.highest()]));
      message = JSON.stringify({ ...sample, own, hubs, by: tallies, ...rowsOf(streams, query, { now, isOwn }) });
      this.messages.set(key, message);
    }
    return message;
  }

  private count() {
    const by = { route: new Tally(), protocol: new Tally(), format: new Tally() };
    let queue = 0;
    for (const stream of this.streams) {
      queue += stream.bufferedAmount;
      by.route.add(stream.route);
      by.protocol.add(PROTOCOLS[stream.protocol]);
      by.format.add(stream.format ?? 'not known yet');
    }
    return { by, queue };
  }
}

/** Counts how often each name occurs. */
class Tally {
  private readonly counts = new Map<string, number>();

  add(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  highest(): { readonly named: readonly (readonly [string, number])[]; readonly others: number } {
    const sorted = [...this.counts].sort(([, a], [, b]) => b - a);
    return { named: sorted.slice(0, NAMED), others: Math.max(0, sorted.length - NAMED) };
  }
}
