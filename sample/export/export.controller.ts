import type { ReadStream } from 'node:fs';
import { BadRequestException, Controller, DefaultValuePipe, ParseIntPipe, Query } from '@nestjs/common';
import { ConnectedStream, Stream, type StreamConnection, UseStreamHooks } from 'nestjs-streaming';
import { WHOLE_OR_FAILED } from '../whole-or-failed.js';
import { ExportService } from './export.service.js';

const LEAST_RATE = 1_024;

@Controller('export')
@UseStreamHooks(WHOLE_OR_FAILED)
export class ExportController {
  constructor(private readonly exports: ExportService) {}

  /** A file in chunks. It is read no faster than the client reads, or than `rate` bytes per second. */
  @Stream({ format: 'text' })
  async download(
    @ConnectedStream() stream: StreamConnection<string>,
    @Query('file', new DefaultValuePipe('package-lock.json')) name: string,
    @Query('rate', new ParseIntPipe({ optional: true })) rate?: number,
  ): Promise<ReadStream | AsyncGenerator<string>> {
    if (rate !== undefined && rate < LEAST_RATE) {
      throw new BadRequestException(`rate is at least ${LEAST_RATE} bytes a second`);
    }
    const file = await this.exports.find(name);
    // With the length, a client can show its progress, and notice whether the file is complete.
    stream.header('X-Export-Bytes', String(file.bytes));
    return rate === undefined ? this.exports.read(file) : this.exports.paced(file, rate, stream.signal);
  }
}
