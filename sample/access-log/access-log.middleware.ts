import type { IncomingMessage, ServerResponse } from 'node:http';
import { Injectable, type NestMiddleware } from '@nestjs/common';
import { AccessLogService } from './access-log.service.js';

/** Writes a line when a response is over. On Fastify too, middleware receives the request and response of Node.js. */
@Injectable()
export class AccessLogMiddleware implements NestMiddleware {
  constructor(private readonly log: AccessLogService) {}

  use(request: IncomingMessage & { originalUrl?: string }, response: ServerResponse, next: () => void): void {
    const { socket, method = '' } = request;
    const path = request.originalUrl ?? request.url ?? '';
    const startedAt = performance.now();
    // A connection may be used for several responses, one after the other.
    const bytesBefore = socket.bytesWritten;
    response.once('close', () => {
      this.log.add({
        at: new Date().toISOString(),
        method,
        path,
        status: response.statusCode,
        bytes: socket.bytesWritten - bytesBefore,
        ms: Math.round(performance.now() - startedAt),
        complete: response.writableFinished,
      });
    });
    next();
  }
}
