// The application of a ServerProcess. It is a separate program, whose argument is the platform.
import type { Server } from 'node:http';
import { Body, Controller, Query, RequestMethod } from '@nestjs/common';
import {
  ConnectedStream,
  flush,
  type Hub,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  type SubscribeOptions,
} from '../../lib/index.js';
import { type Platform, startApp } from './app.js';
import { hubOf, publishAll } from './hub.js';

const KIB_16 = 'x'.repeat(16_384);
const LONG_MS = 60_000;
const NEVER = new Promise<never>(() => undefined);

@Controller()
class Streams {
  constructor(
    @InjectHub('feed') private readonly feed: Hub,
    @InjectHub('live') private readonly live: Hub,
  ) {}

  @Stream('feed', { format: ['sse', 'ndjson', 'json', 'text'], compression: { encodings: ['gzip', 'br'] } })
  subscribe(@LastEventId() after?: string, @Query('topic') topic?: string | string[]) {
    return this.feed.subscribe({ topic, after });
  }

  @Stream('live', { format: 'sse' })
  listen(@Query('overflow') overflow?: SubscribeOptions['overflow']) {
    return this.live.subscribe({ overflow });
  }

  @Stream('endless', { format: 'text', compression: { encodings: ['gzip', 'br'] } })
  *endless() {
    for (;;) {
      yield KIB_16;
    }
  }

  @Stream('pushed', { format: 'bytes', overflow: 'drop-newest', queue: { bytes: 65_536 } })
  pushed(@ConnectedStream() stream: StreamConnection<Uint8Array>) {
    for (let i = 0; i < 1_000; i++) {
      void stream.send(Buffer.alloc(16_384));
    }
  }

  @Stream('tiny', { format: 'bytes', overflow: 'drop-newest' })
  tiny(@ConnectedStream() stream: StreamConnection<Uint8Array>) {
    for (let i = 0; i < 70_000; i++) {
      void stream.send(new Uint8Array(1));
    }
  }

  /** Its chunks wait for a hook that never settles. */
  @Stream('hooked', { format: 'text', overflow: 'drop-newest', queue: { bytes: 65_536 } })
  hooked(@ConnectedStream() stream: StreamConnection<string>) {
    stream.hooks({ beforeChunk: () => NEVER }).open();
    for (let i = 0; i < 10_000; i++) {
      void stream.send('x');
    }
  }

  @Stream('posted', { format: 'text', method: RequestMethod.POST })
  *posted(@Body('prompt') prompt: string) {
    yield String(prompt.length);
    yield* this.endless();
  }

  @Sse('silent', { heartbeat: 20, sendTimeout: LONG_MS, maxDuration: LONG_MS })
  async *silent() {
    yield 'x';
    await NEVER;
  }

  /** Its second chunk waits for a timer. */
  @Sse('gathering', { flush: { bytes: 10_000, ms: LONG_MS } })
  async *gathering() {
    yield 'x';
    yield flush();
    yield 'y';
    await NEVER;
  }

  @Stream('impatient', { format: 'text', sendTimeout: 2_000 })
  *impatient() {
    yield* this.endless();
  }
}

const app = await startApp(process.argv[2] as Platform, {
  controllers: [Streams],
  options: { shutdown: { grace: 0 }, websocket: true },
  imports: [
    StreamingModule.registerHub(
      { name: 'feed', history: { limit: 1_000_000, ttl: 3_600_000 } },
      { name: 'live', history: false },
    ),
  ],
});
const server: Server = app.app.getHttpServer();

const COMMANDS = {
  port: () => app.port,
  connections: () => new Promise((resolve) => server.getConnections((_error, count) => resolve(count))),
  streams: () => app.registry.size,
  /** Publishes a number of events of a size. Returns the id of the first. */
  async publish(hub: string, count: number, size: number, topic?: string) {
    const events = Array.from({ length: count }, (_, i) => String(i).padEnd(size, 'x'));
    const [first] = await publishAll(hubOf(app, hub), events, { topic });
    return first;
  },
  /** Returns how many bytes are in use, without garbage. */
  async memory() {
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      global.gc?.();
    }
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  },
  /** Blocks the event loop. */
  block(ms: number) {
    for (const end = performance.now() + ms; performance.now() < end; );
  },
  warnings: () => app.logs.of('warn'),
  /** Closes the application. Returns the timers that keep the process alive. */
  async close() {
    await app.close();
    return process.getActiveResourcesInfo().filter((each) => each === 'Timeout');
  },
} as const;

export type Commands = typeof COMMANDS;

process.on('message', async ({ command, args }: { readonly command: keyof Commands; readonly args: never[] }) => {
  const run: (...args: never[]) => unknown = COMMANDS[command];
  process.send?.({ result: await run(...args) });
});
process.send?.({ result: 'ready' });
