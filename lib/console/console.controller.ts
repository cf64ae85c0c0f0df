import {
  BadRequestException,
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  Inject,
  Injectable,
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
import type { StreamConnection } from '../connection/stream-connection.js';
import { ConnectedStream } from '../decorators/connected-stream.decorator.js';
import { Sse } from '../decorators/sse.decorator.js';
import { ConsoleGuard, SameOriginGuard } from './console.guard.js';
import { ConsoleFeed } from './console-feed.js';
import { CONSOLE_PAGE, CONSOLE_PAGE_HEADERS } from './console-page.js';
import { consoleQuery } from './console-query.js';

/** The metadata key of `@ApiExcludeController()`. `@nestjs/swagger` itself may not be installed. */
const EXCLUDED_FROM_OPENAPI = 'swagger/apiExcludeController';

/** The actions of the page, its feed and its buttons. */
@Injectable()
export class ConsoleActions {
  constructor(
    @Inject(ConsoleFeed) private readonly feed: ConsoleFeed,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
  ) {}

  /** Responds with the page. It bypasses Nest's response handling, so that interceptors of the application do not change it. */
  page(response: unknown): void {
    const { httpAdapter } = this.host;
    for (const [name, value] of Object.entries(CONSOLE_PAGE_HEADERS)) {
      httpAdapter.setHeader(response, name, value);
    }
    httpAdapter.reply(response, CONSOLE_PAGE, 200);
  }

  watch(stream: StreamConnection, filter: unknown, sort: unknown): void {
    this.feed.add(stream, consoleQuery(filter, sort));
  }

  /** Starts to close a stream. It does not wait for the end: if the client does not read, closing takes up to `sendTimeout`. */
  close(contentType: string | undefined, body: unknown): { readonly closing: string } {
    const id = idIn(contentType, body);
    if (![...this.feed.streams].some((stream) => stream.id === id)) {
      throw new NotFoundException('There is no open stream with this id');
    }
    void this.feed.streams.close((stream) => stream.id === id);
    return { closing: id };
  }

  /** Starts to stop a run. It does not wait for the end, which may be in another process. */
  stop(contentType: string | undefined, body: unknown): { readonly stopping: string } {
    const id = idIn(contentType, body);
    if (!this.feed.runs.stop(id)) {
      throw new NotFoundException('There is no run in progress with this id');
    }
    return { stopping: id };
  }
}

/** Returns the id in the body of a command. */
function idIn(contentType: string | undefined, body: unknown): string {
  // A form cannot send JSON, so that a page of another site would need a CORS preflight.
  if (!/^application\/json\s*(;|$)/i.test(contentType ?? '')) {
    throw new UnsupportedMediaTypeException('Send the id as JSON: {"id":"…"}');
  }
  const id = (body as { readonly id?: unknown } | null | undefined)?.id;
  if (typeof id !== 'string') {
    throw new BadRequestException('Send the id as JSON: {"id":"…"}');
  }
  return id;
}

/** Returns a controller at a path. Each call creates a new class, since one process may have several consoles. */
export function consoleControllerAt(path: string): Type {
  @Controller({ path, version: VERSION_NEUTRAL })
  @SetMetadata(EXCLUDED_FROM_OPENAPI, [true])
  @UseGuards(ConsoleGuard)
  class StreamingConsole {
    constructor(@Inject(ConsoleActions) private readonly actions: ConsoleActions) {}

    @Get()
    page(@Res() response: unknown): void {
      this.actions.page(response);
    }

    @Sse('events', { maxDuration: false, protocols: 'http' })
    @UseGuards(SameOriginGuard)
    events(
      @ConnectedStream() stream: StreamConnection,
      @Query('filter') filter: unknown,
      @Query('sort') sort: unknown,
    ) {
      this.actions.watch(stream, filter, sort);
    }

    @Post('close')
    @UseGuards(SameOriginGuard)
    @HttpCode(202)
    close(@Headers('content-type') type: string | undefined, @Body() body: unknown): { readonly closing: string } {
      return this.actions.close(type, body);
    }

    @Post('runs/stop')
    @UseGuards(SameOriginGuard)
    @HttpCode(202)
    stop(@Headers('content-type') type: string | undefined, @Body() body: unknown): { readonly stopping: string } {
      return this.actions.stop(type, body);
    }
  }
  return StreamingConsole;
}
