import { Sse } from '@nestjs/common';
import { Subject } from 'rxjs';
import { decorate, nestServer } from '../../servers/nest-app.mjs';

/**
 * What Nest has without us.
 * @param {'express' | 'fastify'} platform
 */
async function start(platform) {
  /** @type {Subject<{ data: object }>} */
  const subject = new Subject();
  class SseController {
    listen() {
      return subject.asObservable();
    }
  }
  // Without a limit of its own it would give up clients that are behind.
  decorate(SseController, 'listen', [Sse('listen', { maxPendingDataLength: Infinity })]);
  const server = await nestServer(platform, SseController);
  return { server, publish: (/** @type {object} */ data) => subject.next({ data }) };
}

export const nestExpress = () => start('express');
export const nestFastify = () => start('fastify');
