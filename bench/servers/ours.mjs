import { Get } from '@nestjs/common';
import { adapter, build } from './build.mjs';
import { count, decorate, nestServer } from './nest-app.mjs';
import { REPLY, silence, texts, textsSync } from './payload.mjs';

const { ConnectedStream, Sse, StreamingModule } = await build(import.meta.url);

class OurController {
  /** @param {string} chunks */
  async(chunks) {
    return texts(Number(chunks));
  }

  /** @param {string} chunks */
  sync(chunks) {
    return textsSync(Number(chunks));
  }

  idle() {
    return silence();
  }

  plain() {
    return REPLY;
  }

  /** @param {import('nestjs-streaming').StreamConnection} _stream to be pushed to, some day */
  push(_stream) {
    return undefined;
  }
}

decorate(OurController, 'async', [Sse('async/:count')], [count]);
decorate(OurController, 'sync', [Sse('sync/:count')], [count]);
decorate(OurController, 'idle', [Sse('idle')]);
decorate(OurController, 'plain', [Get('plain')]);
decorate(OurController, 'push', [Sse('idle-push')], [ConnectedStream()]);

/**
 * @param {'express' | 'fastify'} platform
 * @param {import('@nestjs/common').HttpServer} [httpAdapter]
 */
const start = (platform, httpAdapter) => nestServer(platform, OurController, [StreamingModule.forRoot()], httpAdapter);

export const oursExpress = () => start('express');
export const oursFastify = () => start('fastify');
export const oursAdapter = async () => start('express', await adapter(import.meta.url));
