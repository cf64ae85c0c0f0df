import { Controller, Param, ParseIntPipe } from '@nestjs/common';
import { Stream, StreamSignal } from 'nestjs-streaming';
import { fromWorker } from 'nestjs-streaming/worker';

/** The compiled file lies beside the compiled controller. */
const WORKER = new URL('./primes.worker.js', import.meta.url);

@Controller('primes')
export class PrimesController {
  /** The primes up to a limit, as fast as the client reads them. Each stream has a thread, so there are few at the same time. */
  @Stream(':limit', { limits: { connections: 8 } })
  upTo(@Param('limit', ParseIntPipe) limit: number, @StreamSignal() signal: AbortSignal): AsyncIterable<number> {
    return fromWorker<number>(WORKER, { data: limit, signal });
  }
}
