import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getHubToken, InjectHub, LastEventId, Sse, StreamingModule } from 'nestjs-streaming';
import { RedisBroker } from 'nestjs-streaming/redis';
import { createClient } from 'redis';
import { decorate, nestServer } from '../../servers/nest-app.mjs';
import { event, HEAD, listener } from './raw.mjs';

/** Processes of a cluster: some have clients, and one publishes. They share the Redis at `BENCH_REDIS_URL`. */

const { BENCH_REDIS_URL: url = '' } = process.env;
const CHANNEL = 'bench:raw';
const HUB = 'fleet';

async function connected() {
  const client = createClient({ url });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  return client;
}

/** Writes the messages of a turn at once, and keeps nothing. */
export async function raw() {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  const server = listener(
    (socket) => {
      socket.write(`${HEAD}\r\n`);
      sockets.add(socket);
    },
    (socket) => sockets.delete(socket),
  );
  let waiting = '';
  const flush = () => {
    const bytes = Buffer.from(waiting, 'latin1');
    waiting = '';
    for (const socket of sockets) {
      socket.write(bytes);
    }
  };
  const client = await connected();
  await client.subscribe(CHANNEL, (text) => {
    if (waiting === '') {
      setImmediate(flush);
    }
    waiting += text;
  });
  return { server };
}

export async function rawPublisher() {
  const client = await connected();
  const publish = (/** @type {object} */ message) => client.publish(CHANNEL, event(message));
  return { publish, handedOver: () => Promise.resolve() };
}

const broker = () => StreamingModule.forRoot({ broker: new RedisBroker({ url }) });

/** An application with the default options. */
export async function ours() {
  class Feed {
    /** @param {import('nestjs-streaming').Hub} hub */
    constructor(hub) {
      this.hub = hub;
    }

    /** @param {string} [after] */
    listen(after) {
      return this.hub.subscribe({ after });
    }
  }
  InjectHub(HUB)(Feed, undefined, 0);
  decorate(Feed, 'listen', [Sse('listen')], [LastEventId()]);
  return { server: await nestServer('fastify', Feed, [broker(), StreamingModule.registerHub({ name: HUB })]) };
}

/** An application without HTTP. */
export async function oursPublisher() {
  class App {}
  Module({ imports: [broker(), StreamingModule.registerHub({ name: HUB })] })(App);
  const app = await NestFactory.createApplicationContext(App, { logger: ['error', 'warn'] });
  const hub = app.get(getHubToken(HUB));
  return { publish: (/** @type {object} */ message) => hub.publish(message), handedOver: () => Promise.resolve() };
}
