import { ConnectedStream, Sse, StreamingModule } from 'nestjs-streaming';
import { count, decorate, nestServer } from './nest-app.mjs';
import { silence, texts, textsSync } from './payload.mjs';

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

  /** @param {import('nestjs-streaming').StreamConnection} _stream to be pushed to, some day */
  push(_stream) {
    return undefined;
  }
}

decorate(OurController, 'async', [Sse('async/:count')], [count]);
decorate(OurController, 'sync', [Sse('sync/:count')], [count]);
decorate(OurController, 'idle', [Sse('idle')]);
decorate(OurController, 'push', [Sse('idle-push')], [ConnectedStream()]);

/** @param {'express' | 'fastify'} platform */
const start = (platform) => nestServer(platform, OurController, [StreamingModule.forRoot()]);

export const oursExpress = () => start('express');
export const oursFastify = () => start('fastify');
