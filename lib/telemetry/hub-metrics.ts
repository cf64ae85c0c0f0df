import type { BatchObservableResult, Meter } from '@opentelemetry/api';
import type { Hub } from '../hub/hub.js';
import { RunningTotal } from './running-total.js';

/** The instruments of hubs. */
export class HubMetrics {
  readonly subscribers;
  readonly history;
  private readonly published;

  /** @param hubs those there are by now */
  constructor(
    meter: Meter,
    private readonly hubs: () => Iterable<Hub>,
  ) {
    this.subscribers = meter.createObservableUpDownCounter('nestjs_streaming.hub.subscribers', {
      unit: '{subscriber}',
      description: 'Subscribers of a hub in this process',
    });
    this.history = meter.createObservableUpDownCounter('nestjs_streaming.hub.history', {
      unit: '{event}',
      description: 'Events a hub keeps for clients that come back',
    });
    this.published = new RunningTotal(
      meter.createCounter('nestjs_streaming.hub.published', {
        unit: '{event}',
        description: 'Events published to a hub by this process',
      }),
    );
  }

  /** Reports what has come since the last time. */
  report(result?: BatchObservableResult): void {
    for (const hub of this.hubs()) {
      const attributes = { hub: hub.name };
      this.published.report(hub.published, attributes);
      result?.observe(this.subscribers, hub.size(), attributes);
      result?.observe(this.history, hub.log.kept, attributes);
    }
  }
}
