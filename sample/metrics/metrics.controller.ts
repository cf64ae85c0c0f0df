import { Controller } from '@nestjs/common';
import { LastEventId, Sse, type StreamEvent } from 'nestjs-streaming';
import { concat, map, type Observable, of } from 'rxjs';
import { MetricsService, type Sample } from './metrics.service.js';

@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: MetricsService) {}

  /** The machine first, then the last minute, then a sample a second; a browser that reconnects gets what it missed. */
  @Sse()
  watch(@LastEventId() after?: string): Observable<StreamEvent> {
    return concat(
      of({ type: 'machine', data: this.metrics.machine }),
      this.metrics.since(after).pipe(map((sample) => this.event(sample))),
    );
  }

  private event(sample: Sample): StreamEvent {
    return { type: 'sample', id: this.metrics.idOf(sample), data: sample };
  }
}
