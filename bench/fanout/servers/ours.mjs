import { adapter, build } from '../../servers/build.mjs';
import { decorate, nestServer } from '../../servers/nest-app.mjs';
import { TOPICS } from '../message.mjs';

const { InjectHub, LastEventId, Sse, StreamingModule } = await build(import.meta.url);

/**
 * A hub with the default options: bounded queues, ids, history, heartbeats, `disconnect`.
 * @param {'express' | 'fastify'} platform
 * @param {import('nestjs-streaming').StreamingOptions} [options]
 * @param {boolean} [scattered] whether each client has a topic of its own
 * @param {import('@nestjs/common').HttpServer} [httpAdapter]
 */
async function start(platform, options, scattered = false, httpAdapter = undefined) {
  let joined = 0;
  let published = 0;
  /** @param {number} count */
  const topic = (count) => (scattered ? `topic ${count % TOPICS}` : undefined);
  /** @type {import('nestjs-streaming').Hub} */
  let hub;
  class HubController {
    /** @param {import('nestjs-streaming').Hub} injected */
    constructor(injected) {
      hub = injected;
    }

    /** @param {string} [after] */
    listen(after) {
      return hub.subscribe({ after, topic: topic(joined++) });
    }
  }
  InjectHub('bench')(HubController, undefined, 0);
  decorate(HubController, 'listen', [Sse('listen')], [LastEventId()]);
  const modules = [StreamingModule.forRoot(options), StreamingModule.registerHub({ name: 'bench' })];
  const server = await nestServer(platform, HubController, modules, httpAdapter);
  return { server, publish: (/** @type {object} */ message) => hub.publish(message, { topic: topic(published++) }) };
}

const GZIP = { compression: { encodings: ['gzip'], threshold: 0 } };

export const oursExpress = () => start('express');
export const oursFastify = () => start('fastify');
export const oursAdapter = async () => start('express', undefined, false, await adapter(import.meta.url));
export const scatteredExpress = () => start('express', undefined, true);
export const scatteredFastify = () => start('fastify', undefined, true);
export const webSocketExpress = () => start('express', { websocket: true });
export const webSocketFastify = () => start('fastify', { websocket: true });
export const gzipExpress = () => start('express', GZIP);
export const gzipFastify = () => start('fastify', GZIP);
