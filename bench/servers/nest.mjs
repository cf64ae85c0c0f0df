import { Get, Header, Res, Sse } from '@nestjs/common';
import { from, NEVER } from 'rxjs';
import { count, decorate, nestServer } from './nest-app.mjs';
import { frames, REPLY, SSE_HEADERS, texts } from './payload.mjs';

/** Nest without this package. */
class NestController {
  plain() {
    return REPLY;
  }

  /** @param {string} chunks */
  async(chunks) {
    return frames(Number(chunks));
  }

  /** @param {string} chunks */
  sse(chunks) {
    return from(texts(Number(chunks)));
  }

  silent() {
    return NEVER;
  }

  /** @param {any} response Express's or Fastify's */
  held(response) {
    const raw = response.hijack ? response.hijack().raw : response;
    raw.writeHead(200, SSE_HEADERS).flushHeaders();
  }
}

decorate(NestController, 'plain', [Get('plain')]);
decorate(NestController, 'async', [Header('Content-Type', 'text/event-stream'), Get('async/:count')], [count]);
// It has no backpressure: the default limit would end a fast stream.
decorate(NestController, 'sse', [Sse('sse/:count', { maxPendingDataLength: Infinity })], [count]);
decorate(NestController, 'silent', [Sse('idle-sse')]);
decorate(NestController, 'held', [Get('idle')], [Res()]);

/** @param {'express' | 'fastify'} platform */
const start = (platform) => nestServer(platform, NestController);

export const nestExpress = () => start('express');
export const nestFastify = () => start('fastify');
