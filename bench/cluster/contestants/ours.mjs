import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getHubToken, StreamingModule } from 'nestjs-streaming';
import { RedisBroker } from 'nestjs-streaming/redis';

/** A broker, and hubs in applications without HTTP. */

const TOPIC = 'eu';
const RETENTION = { limit: 1_000, ttl: 300_000 };

/**
 * The broker alone, without a hub.
 * @param {string} url
 * @param {string} log
 * @returns {Promise<import('../worker.mjs').Contestant>}
 */
export async function broker(url, log) {
  const redis = new RedisBroker({ url });
  await redis.open(log, RETENTION);
  return {
    append: (message) =>
      redis.append(log, { data: JSON.stringify(message), encoding: /** @type {const} */ ('json'), topic: TOPIC }),
    async listen(onText) {
      await redis.tail(log, (records) => {
        for (const { data } of records) {
          onText(data);
        }
      });
    },
    end: () => redis.close(),
  };
}

/**
 * A hub in an application without HTTP.
 * @param {string} url
 * @param {string} name
 * @param {ConstructorParameters<typeof RedisBroker>[0]} [options] of the broker
 * @returns {Promise<import('../worker.mjs').Contestant>}
 */
async function application(url, name, options = {}) {
  class App {}
  Module({
    imports: [
      StreamingModule.forRoot({ broker: new RedisBroker({ url, ...options }) }),
      StreamingModule.registerHub({ name }),
    ],
  })(App);
  const app = await NestFactory.createApplicationContext(App, { logger: ['error', 'warn'] });
  /** @type {import('nestjs-streaming').Hub} */
  const hub = app.get(getHubToken(name));
  return {
    append: (message) => hub.publish(message, { topic: TOPIC }),
    listen(_onText, onMessage) {
      const read = async () => {
        for await (const { data } of hub.subscribe({ topic: TOPIC, overflow: 'disconnect' })) {
          onMessage(data);
        }
      };
      read().catch((error) => {
        throw error;
      });
    },
    end: () => app.close(),
  };
}

/** @type {(url: string, name: string) => Promise<import('../worker.mjs').Contestant>} */
export const hub = (url, name) => application(url, name);
/** @type {typeof hub} */
export const pubsub = (url, name) => application(url, name, { tail: 'pubsub' });
