// native-writer.mjs: an application whose hub writes events with nestjs-streaming-native, in the version of Node.js that runs this file.
import 'reflect-metadata';
import { deepStrictEqual } from 'node:assert';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getHubToken, Sse, StreamingModule } from 'nestjs-streaming';

// The event loop is kept alive by the server: without a limit, a failure would hang the gate.
setTimeout(() => {
  throw new Error('The clients have not received the events within 60 s');
}, 60_000).unref();

const native = createRequire(import.meta.url)('nestjs-streaming-native');
const { createWriter } = native;
const written = [];
native.createWriter = (writeTo) => {
  const write = createWriter(writeTo);
  return (sockets, bytes) => {
    written.push(sockets.length);
    return write(sockets, bytes);
  };
};

class Feed {
  watch() {
    return hub.subscribe();
  }
}
const watch = Object.getOwnPropertyDescriptor(Feed.prototype, 'watch');
Sse('feed')(Feed.prototype, 'watch', watch);
Object.defineProperty(Feed.prototype, 'watch', watch);
Controller()(Feed);

class AppModule {}
Module({ imports: [StreamingModule.forRoot(), StreamingModule.registerHub({ name: 'feed' })], controllers: [Feed] })(
  AppModule,
);

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
await app.listen(0, '127.0.0.1');
const hub = app.get(getHubToken('feed'));
const { port } = app.getHttpServer().address();

/** Returns a function that resolves when the response to a client contains a text. */
function client() {
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /feed HTTP/1.1\r\nHost: gate\r\n\r\n'));
  let response = '';
  socket.setEncoding('utf8').on('data', (data) => {
    response += data;
  });
  return async (text) => {
    while (!response.includes(text)) {
      await once(socket, 'data');
    }
  };
}

// A hub writes to the sockets of 8 clients or more side by side.
const clients = Array.from({ length: 20 }, client);
await new Promise((resolve) => {
  hub.presence.subscribe(() => hub.size() === clients.length && resolve());
});
// The streams write the first event themselves, and the row of their sockets the others.
for (const price of [17, 18, 19]) {
  await hub.publish({ price });
  await Promise.all(clients.map((has) => has(`\ndata: {"price":${price}}\n\n`)));
}
deepStrictEqual(written, [clients.length, clients.length]);
await app.close();
console.log(
  `Node.js ${process.version}: nestjs-streaming-native ${native.version} wrote events to ${clients.length} clients`,
);
