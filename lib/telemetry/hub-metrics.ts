import type { Meter } from '@opentelemetry/api';
import type { Hub } from '../hub/hub.js';
import { RunningLevel, RunningTotal } from './running-counters.js';

/** The instruments of hubs. */
export class HubMetrics {
  private readonly subscribers;
  private readonly history;
  private readonly published;

  /** @param hubs returns all current hubs */
  constructor(
    meter: Meter,
    private readonly hubs: () => Iterable<Hub>,
  ) {
    this.subscribers = new RunningLevel(
      meter.createUpDownCounter('nestjs_streaming.hub.subscribers', {
        unit: '{subscriber}',
        description: 'Subscribers of a hub in this process',
      }),
    );
    this.history = new RunningLevel(
      meter.createUpDownCounter('nestjs_streaming.hub.history', {
        unit: '{event}',
        description: 'Events that a hub keeps for clients that resume',
      }),
    );
    this.published = new RunningTotal(
      meter.createCounter('nestjs_streaming.hub.published', {
        unit: '{event}',
        description: 'Events published to a hub by this process',
      }),
    );
  }

  /** Reports all changes since the last call. */
  report(): void {
    const hubs = [...this.hubs()].map((hub) => ({ hub, attributes: { 'nestjs_streaming.hub': hub.name } }));
    for (const { hub, attributes } of hubs) {
      this.published.report(hub.published, attributes);
    }
    this.subscribers.report(hubs.map(({ hub, attributes }) => ({ value: hub.size(), attributes })));
    this.history.report(hubs.map(({ hub, attributes }) => ({ value: hub.log.kept, attributes })));
  }

  /** Reports the last changes, and then sets all levels to 0. */
  stop(): void {
    this.report();
    this.subscribers.report([]);
    this.history.report([]);
  }
}
