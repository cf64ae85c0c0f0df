import type { Attributes, Gauge, Meter } from '@opentelemetry/api';
import type { Hub } from '../hub/hub.js';
import { RunningLevel, RunningTotal } from './running-counters.js';

interface MeasuredHub {
  readonly hub: Hub;
  readonly attributes: Attributes;
}

/** An instrument whose value is read from each hub. A hub for which it is `undefined` is left out. */
interface Level {
  readonly level: RunningLevel;
  readonly of: (hub: Hub) => number | undefined;
}

interface Total {
  readonly total: RunningTotal;
  readonly of: (hub: Hub) => number;
}

/** The instruments of hubs. */
export class HubMetrics {
  private readonly levels: readonly Level[];
  private readonly totals: readonly Total[];
  private readonly behind: Gauge;

  /** @param hubs returns all current hubs */
  constructor(
    meter: Meter,
    private readonly hubs: () => Iterable<Hub>,
  ) {
    const level = (name: string, unit: string, description: string, of: Level['of']): Level => ({
      level: new RunningLevel(meter.createUpDownCounter(`nestjs_streaming.hub.${name}`, { unit, description })),
      of,
    });
    const total = (name: string, description: string, of: Total['of']): Total => ({
      total: new RunningTotal(meter.createCounter(`nestjs_streaming.hub.${name}`, { unit: '{event}', description })),
      of,
    });
    this.levels = [
      level('subscribers', '{subscriber}', 'Subscribers of a hub in this process', (hub) => hub.size()),
      level('history', '{event}', 'Events that a hub keeps for clients that resume', (hub) => hub.log.kept),
      level('appends.pending', '{event}', 'Events that wait for the broker', (hub) => hub.appends.pending),
      level(
        'broker.connected',
        '{connection}',
        'Whether the broker of a hub is connected: 1 or 0',
        ({ brokerStatus }) => brokerStatus && Number(brokerStatus.connected),
      ),
    ];
    this.totals = [
      total('published', 'Events published to a hub by this process', (hub) => hub.published),
      total('appends.failed', 'Events that the broker has not appended, or not confirmed', (hub) => hub.appends.failed),
    ];
    this.behind = meter.createGauge('nestjs_streaming.hub.broker.behind', {
      unit: 's',
      description: 'Age of the oldest event that the broker has not delivered yet',
    });
  }

  /** Reports all changes since the last call. */
  report(): void {
    const hubs = this.measured();
    for (const { hub, attributes } of hubs) {
      for (const { total, of } of this.totals) {
        total.report(of(hub), attributes);
      }
    }
    for (const { level, of } of this.levels) {
      const values = hubs.map(({ hub, attributes }) => ({ value: of(hub), attributes }));
      level.report(values.flatMap(({ value, attributes }) => (value === undefined ? [] : [{ value, attributes }])));
    }
    this.reportDelays(hubs, 1);
  }

  /** Reports the last changes, and then sets all levels to 0. */
  stop(): void {
    this.report();
    for (const { level } of this.levels) {
      level.report([]);
    }
    this.reportDelays(this.measured(), 0);
  }

  private measured(): MeasuredHub[] {
    return [...this.hubs()].map((hub) => ({ hub, attributes: { 'nestjs_streaming.hub': hub.name } }));
  }

  /** @param factor 0 after the end: a gauge keeps its last value */
  private reportDelays(hubs: readonly MeasuredHub[], factor: 0 | 1): void {
    for (const { hub, attributes } of hubs) {
      const { brokerStatus } = hub;
      if (brokerStatus) {
        this.behind.record((factor * brokerStatus.behindMs) / 1_000, attributes);
      }
    }
  }
}
