import {
  BadRequestException,
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  Inject,
  NotFoundException,
  Post,
  Query,
  Res,
  SetMetadata,
  type Type,
  UnsupportedMediaTypeException,
  UseGuards,
  VERSION_NEUTRAL,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { StreamConnection } from '../connection/stream-connection.js';
import { ConnectedStream } from '../decorators/connected-stream.decorator.js';
import { Sse } from '../decorators/sse.decorator.js';
import { ConsoleGuard, SameOriginGuard } from './console.guard.js';
import { ConsoleFeed } from './console-feed.js';
import { PAGE, PAGE_HEADERS } from './console-page.js';
import { consoleQuery } from './console-query.js';

/** What `@ApiExcludeController()` of `@nestjs/swagger`, which need not be there, notes. */
const EXCLUDED_FROM_OPENAPI = 'swagger/apiExcludeController';

/** The page, its feed, and its button. Its own responses, so that no interceptor of the application changes them. */
class ConsoleController {
  constructor(
    @Inject(ConsoleFeed) private readonly feed: ConsoleFeed,
    @Inject(StreamRegistry) private readonly streams: StreamRegistry,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
  ) {}

  @Get()
  page(@Res() response: unknown): void {
    const { httpAdapter } = this.host;
    for (const [name, value] of Object.entries(PAGE_HEADERS)) {
      httpAdapter.setHeader(response, name, value);
    }
    httpAdapter.reply(response, PAGE, 200);
  }

  @Sse('events', { maxDuration: false, protocols: 'http' })
  @UseGuards(SameOriginGuard)
  events(
    @ConnectedStream() stream: StreamConnection,
    @Query('filter') filter?: unknown,
    @Query('sort') sort?: unknown,
  ): void {
    this.feed.add(stream, consoleQuery(filter, sort));
  }

  /** Answers at once: a client that takes nothing has until `sendTimeout`. */
  @Post('close')
  @UseGuards(SameOriginGuard)
  @HttpCode(202)
  close(@Headers('content-type') type: string | undefined, @Body() body: unknown): { readonly closing: string } {
    // Not what a form can send: a page of another site would have to ask first (CORS).
    if (!/^application\/json\s*(;|$)/i.test(type ?? '')) {
      throw new UnsupportedMediaTypeException('Send the id of a stream as JSON: {"id":"…"}');
    }
    const id = (body as { readonly id?: unknown } | null | undefined)?.id;
    if (typeof id !== 'string') {
      throw new BadRequestException('Send the id of a stream as JSON: {"id":"…"}');
    }
    if (![...this.streams].some((stream) => stream.id === id)) {
      throw new NotFoundException('There is no such stream, or not any more');
    }
    void this.streams.close((stream) => stream.id === id);
    return { closing: id };
  }
}

/** The controller at a path: applications of one process, or one of them twice, may have it at several. */
export function consoleControllerAt(path: string): Type {
  @Controller({ path, version: VERSION_NEUTRAL })
  @SetMetadata(EXCLUDED_FROM_OPENAPI, [true])
  @UseGuards(ConsoleGuard)
  class StreamingConsole extends ConsoleController {}
  return StreamingConsole;
}
