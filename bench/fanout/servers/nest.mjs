import { Sse } from '@nestjs/common';
import { Subject } from 'rxjs';
import { decorate, nestServer } from '../../servers/nest-app.mjs';

/**
 * Nest without this package.
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
  // The default limit would disconnect clients that are too slow.
  decorate(SseController, 'listen', [Sse('listen', { maxPendingDataLength: Infinity })]);
  const server = await nestServer(platform, SseController);
  return { server, publish: (/** @type {object} */ data) => subject.next({ data }) };
}

export const nestExpress = () => start('express');
export const nestFastify = () => start('fastify');
