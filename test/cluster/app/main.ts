// One of several applications on the same store, in a separate process.
import { Body, Controller, Get, HttpException, Param, Post, Query } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { type Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../../lib/index.js';
import { brokerOfProcess, HISTORY } from './broker.js';

const { PLATFORM, PORT = '0' } = process.env;

/** Responds with the id, or with the code of the error. */
async function publishTo(hub: Hub<string>, key: string, topic?: string) {
  return {
    id: await hub.publish(key, { topic }).catch((error: Error & { readonly code?: string }) => {
      throw new HttpException({ code: error.code, message: error.message }, 503);
    }),
  };
}

@Controller('feed')
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<string>) {}

  @Stream({ format: ['sse', 'ndjson'] })
  listen(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Post()
  publish(@Body('key') key: string) {
    return publishTo(this.hub, key);
  }
}

/** A hub with a history for each topic. */
@Controller('board')
class Board {
  constructor(@InjectHub('board') private readonly hub: Hub<string>) {}

  @Stream({ format: 'sse' })
  listen(@Query('topics') topics: string, @LastEventId() after?: string) {
    return this.hub.subscribe({ topic: topics.split(','), after });
  }

  @Post()
  publish(@Body() { key, topic }: { readonly key: string; readonly topic: string }) {
    return publishTo(this.hub, key, topic);
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
    StreamingModule.forRoot({ broker: brokerOfProcess(), shutdown: { grace: 1_000, retry: 50 } }),
    StreamingModule.registerHub({ name: 'feed', history: HISTORY }),
    StreamingModule.registerHub({ name: 'board', history: { per: 'topic', ...HISTORY } }),
  ],
  controllers: [Feed, Board, Rooms],
};
const settings = { logger: ['error', 'warn'] as ('error' | 'warn')[] };
const app = await (PLATFORM === 'express'
  ? NestFactory.create(dynamicModule, settings)
  : NestFactory.create(dynamicModule, new FastifyAdapter(), settings));
app.enableShutdownHooks();
await app.listen(Number(PORT), '127.0.0.1');
process.send?.({ port: app.getHttpServer().address().port });
