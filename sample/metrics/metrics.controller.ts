import { Controller } from '@nestjs/common';
import {
  ConnectedStream,
  event,
  type Hub,
  type HubSubscription,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
} from 'nestjs-streaming';
import { type Audience, type Machine, MetricsService, type Sample } from './metrics.service.js';

/** Samples of about a minute. */
const SHOWN = 60;

@Controller('metrics')
export class MetricsController {
  constructor(
    private readonly metrics: MetricsService,
    @InjectHub('figures') private readonly hub: Hub<Sample | Audience>,
  ) {}

  /**
   * Sends the machine first, then the last minute, and then new samples. A client that reconnects receives the samples that it missed. A client
   * that is too slow receives the newest samples, and the number of samples that were dropped.
   */
  @Stream({ format: ['sse', 'ndjson'] })
  watch(
    @ConnectedStream() stream: StreamConnection<Machine>,
    @LastEventId() after?: string,
  ): HubSubscription<Sample | Audience> {
    void stream.send(event({ type: 'machine', data: this.metrics.machine }));
    return this.hub.subscribe({
      after,
      last: SHOWN,
      overflow: 'drop-oldest',
      queue: { items: SHOWN },
    });
  }
}
