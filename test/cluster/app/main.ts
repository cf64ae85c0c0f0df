// One of several applications on the same Redis, in a separate process.
import { Body, Controller, Get, HttpException, Param, Post, Query } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { type Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../../lib/index.js';
import { HISTORY, redisBroker } from './broker.js';

const { PLATFORM, PORT = '0' } = process.env;

@Controller('feed')
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<string>) {}

  @Stream({ format: ['sse', 'ndjson'] })
  listen(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  /** Answers with the id, or with the code of the error. */
  @Post()
  async publish(@Body('key') key: string) {
    return {
      id: await this.hub.publish(key).catch((error: Error & { readonly code?: string }) => {
        throw new HttpException({ code: error.code, message: error.message }, 503);
      }),
    };
  }
}

@Controller('rooms/:room')
class Rooms {
  constructor(@InjectHub('feed') private readonly hub: Hub<string>) {}

  @Stream({ format: 'sse' })
  watch(@Param('room') topic: string, @Query('id') id?: string) {
    return this.hub.subscribe(id === undefined ? { topic } : { topic, member: { id } });
  }

  @Get('members')
  members(@Param('room') topic: string) {
    return this.hub.members(topic);
  }
}

class AppModule {}

const dynamicModule = {
  module: AppModule,
  imports: [
    StreamingModule.forRoot({ broker: redisBroker(), shutdown: { grace: 1_000, retry: 50 } }),
    StreamingModule.registerHub({ name: 'feed', history: HISTORY }),
  ],
  controllers: [Feed, Rooms],
};
const settings = { logger: ['error', 'warn'] as ('error' | 'warn')[] };
const app = await (PLATFORM === 'express'
  ? NestFactory.create(dynamicModule, settings)
  : NestFactory.create(dynamicModule, new FastifyAdapter(), settings));
app.enableShutdownHooks();
await app.listen(Number(PORT), '127.0.0.1');
process.send?.({ port: app.getHttpServer().address().port });
