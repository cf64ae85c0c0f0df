import { Controller, Query } from '@nestjs/common';
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
import { AfterPipe } from '../after.pipe.js';
import { type Audience, type Machine, MetricsService, type Sample } from './metrics.service.js';

/** About a minute. */
const SHOWN = 60;

@Controller('metrics')
export class MetricsController {
  constructor(
    private readonly metrics: MetricsService,
    @InjectHub('figures') private readonly hub: Hub<Sample | Audience>,
  ) {}

  /**
   * The machine first, then the last minute, then what all others get, too; a browser that reconnects gets what it missed. Who
   * cannot follow is better off with the newest figures than without any: it is told how many were left out.
   */
  @Stream({ format: ['sse', 'ndjson'] })
  watch(
    @ConnectedStream() stream: StreamConnection<Machine>,
    @LastEventId() lastEventId?: string,
    @Query('after', AfterPipe) after?: string,
  ): HubSubscription<Sample | Audience> {
    void stream.send(event({ type: 'machine', data: this.metrics.machine }));
    return this.hub.subscribe({
      after: lastEventId || after,
      last: SHOWN,
      overflow: 'drop-oldest',
      queue: { items: SHOWN },
    });
  }
}
