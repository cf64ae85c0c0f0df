import { Controller, DefaultValuePipe, ParseIntPipe, Query } from '@nestjs/common';
import { ConnectedStream, Stream, type StreamConnection } from 'nestjs-streaming';
import { AccessLogService, type LogLine } from './access-log.service.js';

@Controller('log')
export class AccessLogController {
  constructor(private readonly log: AccessLogService) {}

  /** Pushes lines, because a log cannot wait. For a slow client, the oldest lines are dropped, and it receives their number. */
  @Stream({ format: 'ndjson', overflow: 'drop-oldest', queue: { items: 1_000 } })
  tail(
    @ConnectedStream() stream: StreamConnection<LogLine>,
    @Query('last', new DefaultValuePipe(20), ParseIntPipe) last: number,
  ): void {
    const stop = this.log.follow((line) => void stream.send(line));
    stream.hooks({ onClose: stop });
    // There may be no line yet, but the client should notice that it is connected.
    stream.open();
    for (const line of this.log.last(last)) {
      void stream.send(line);
    }
  }
}
