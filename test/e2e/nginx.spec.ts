import { Controller, type INestApplication } from '@nestjs/common';
import { EventSource } from 'eventsource';
import {
  ConnectedStream,
  event,
  Hub,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { Http1Client, type StreamClient, WebSocketClient } from '../support/drivers/index.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { dataOf, hubOf, joined, publishAll, range, SSE } from '../support/hub.js';
import { documentedConfig, Nginx, type NginxConfig, plainConfig } from '../support/nginx.js';
import { RawClient } from '../support/raw-client.js';
import { turns, untilStable, useApps } from '../support/running.js';
import { itWith } from '../support/tools.js';
import { eventually, noise } from '../support/transports.js';

import.meta.jest.setTimeout(60_000);

const NEVER = new Promise<never>(() => undefined);
const KIB_64 = noise(65_536);
const NDJSON = { accept: 'application/x-ndjson' };

const itNginx = itWith('nginx');
/** How the tests control streams, and what streams report. */
class Script {
  readonly gates: Deferred[] = range(0, 5).map(() => deferred());
  readonly closes = new Recorder();
  /** The number of chunks of the export that were pulled, and when it ends. */
  pulled = 0;
  end = Number.POSITIVE_INFINITY;
}
let script = new Script();

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  /** Sends 1, 2, … 5, each when the test says so. */
  @Stream('steps', { format: ['sse', 'ndjson'] })
  async *steps() {
    for (const [i, gate] of script.gates.slice(0, 5).entries()) {
      await gate.promise;
      yield event({ data: i + 1 });
    }
  }

  @Stream('failing', { format: ['sse', 'ndjson'] })
  async *failing() {
    yield event({ data: 1 });
    await turns();
    throw new Error('broken');
  }

  @Stream('silent/:beat', { format: ['sse', 'ndjson'], openDelay: 10, heartbeat: 100 })
  async *silent() {
    await NEVER;
    yield 'never';
  }

  @Stream('mute', { format: ['sse', 'ndjson'], openDelay: 10, heartbeat: false })
  async *mute() {
    await NEVER;
    yield 'never';
  }

  @Stream('export', { format: 'ndjson' })
  *export() {
    while (script.pulled < script.end) {
      script.pulled++;
      yield KIB_64;
    }
  }

  @Stream('short', { format: 'ndjson' })
  short() {
    return [1, 2, 3];
  }

  @Stream('hub', { format: ['sse', 'ndjson'] })
  all(@ConnectedStream() stream: StreamConnection, @LastEventId() after?: string) {
    stream.hooks({ onOpen: () => void (stream.format === 'sse' && stream.send(event({ retry: 20 }))) });
    return this.hub.subscribe({ after });
  }
}

const proxies: Nginx[] = [];
const clients: { leave(): void }[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.leave();
  }
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
});

// Registered after the hook above, because hooks of Jest run in reverse order.
const launch = useApps();

async function start(platform: Platform, config: NginxConfig, setup: Partial<AppSetup> = {}) {
  script = new Script();
  const hooks = {
    onClose: (stream: StreamConnection, { code }: { code: string }) => script.closes.add(`${stream.route} ${code}`),
  };
  const app = await launch(platform, {
    ...setup,
    controllers: [Feed],
    imports: [StreamingModule.registerHub({ name: 'feed' })],
    options: { hooks, ...setup.options },
  });
  const proxy = await Nginx.start(app.port, config);
  proxies.push(proxy);
  const kept = <C extends { leave(): void }>(client: C): C => {
    clients.push(client);
    return client;
  };
  return {
    ...app,
    hub: hubOf(app),
    proxy,
    sse: async (path: string, headers: Record<string, string> = {}) => {
      const client = await RawClient.get(proxy.port, path, { ...SSE, ...headers });
      clients.push({ leave: () => client.disconnect() });
      return client;
    },
    ndjson: (path: string, headers: Record<string, string> = {}, localAddress?: string): StreamClient =>
      kept(new Http1Client(proxy.port, path, { ...NDJSON, ...headers }, { localAddress })),
    websocket: (path: string, headers: Record<string, string> = {}) =>
      kept(new WebSocketClient(proxy.port, path, headers)),
  };
}

const CONFIGS = [
  { name: 'with the configuration of docs/deploying.md', config: documentedConfig },
  { name: 'with a minimal configuration', config: plainConfig },
];
const SETUPS = PLATFORMS.flatMap((platform) => CONFIGS.map((config) => ({ platform, ...config })));

describe.each(SETUPS)('$platform behind an nginx $name:', ({ platform, config }) => {
  itNginx('each event of an event stream arrives at once, and its end', async () => {
    const { sse } = await start(platform, config);
    const client = await sse('/steps');

    for (const n of range(1, 5)) {
      script.gates[n - 1]?.resolve();
      await client.until(`data: ${n}\n\n`);
      expect(dataOf(client.body)).toEqual(range(1, n).map(String));
    }
    await client.until('\r\n0\r\n\r\n');

    expect(client.complete).toBe(true);
    expect(await script.closes.count(1)).toEqual(['Feed.steps completed']);
  });

  itNginx('each record of NDJSON arrives at once, and its end', async () => {
    const { ndjson } = await start(platform, config);
    const client = ndjson('/steps');

    for (const n of range(1, 5)) {
      script.gates[n - 1]?.resolve();
      expect(await client.until(n)).toEqual(range(1, n));
    }

    expect(await client.ended()).toBe('complete');
  });

  itNginx('the headers of a stream reach the client, without those for nginx', async () => {
    const { ndjson } = await start(platform, config);

    const { status, headers } = await ndjson('/short').answered();

    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'application/x-ndjson',
      'cache-control': 'no-cache, no-transform',
      'x-content-type-options': 'nosniff',
    });
    expect(headers['x-accel-buffering']).toBeUndefined();
  });

  itNginx('heartbeats arrive', async () => {
    const { sse, ndjson } = await start(platform, config);
    const client = await sse('/silent/1');

    await client.until(/:\n\n.*:\n\n/s);
    await ndjson('/silent/2').untilHeartbeats(2);

    expect(client.body.replaceAll(':\n\n', '')).toBe('');
  });

  itNginx('the application notices when a client disconnects, and other clients stay connected', async () => {
    const { sse, ndjson, registry } = await start(platform, config);
    const [first, second] = [await sse('/mute'), ndjson('/mute')];
    await Promise.all([first.until('\r\n\r\n'), second.answered()]);
    const stays = await sse('/mute');
    await stays.until('\r\n\r\n');

    first.disconnect();
    second.leave();

    expect(await script.closes.count(2)).toEqual(['Feed.mute client-closed', 'Feed.mute client-closed']);
    expect(registry.size).toBe(1);
    expect(stays.socket.destroyed).toBe(false);
  });

  itNginx('the application notices when a client disconnects that has stopped reading', async () => {
    const { ndjson } = await start(platform, config);
    const client = ndjson('/export');
    await client.until(1);
    client.stall();
    await untilStable(() => script.pulled, 100);

    client.leave();

    expect(await script.closes.count(1)).toEqual(['Feed.export client-closed']);
  });

  itNginx('an error after the first byte is reported, and the stream is cut off', async () => {
    const { sse, ndjson } = await start(platform, config);
    const client = await sse('/failing');
    await client.closed();
    const other = ndjson('/failing');

    expect(client.body).toBe('data: 1\n\nevent: error\ndata: {"statusCode":500,"message":"Internal server error"}\n\n');
    expect(client.complete).toBe(false);
    expect(await other.ended()).toBe('broken');
    expect(other.records).toEqual([1, { error: { statusCode: 500, message: 'Internal server error' } }]);
  });

  itNginx('a client that reads slowly pauses the source, and receives everything', async () => {
    const { ndjson } = await start(platform, config);
    const client = ndjson('/export');
    await client.until(1);
    client.stall();

    // Until the buffers of nginx and of the kernel are full.
    script.end = (await untilStable(() => script.pulled, 150)) + 100;
    client.resume();

    expect(await client.ended()).toBe('complete');
    expect(client.records).toHaveLength(script.end);
    expect(new Set(client.records).size).toBe(1);
  });

  itNginx('an EventSource whose nginx is restarted resumes', async () => {
    const { hub, proxy } = await start(platform, config);
    const seen = new Recorder<unknown>();
    const source = new EventSource(`http://127.0.0.1:${proxy.port}/hub`);
    clients.push({ leave: () => source.close() });
    source.addEventListener('message', ({ data }) => seen.add(Number(data)));
    await joined(hub, 1);
    await publishAll(hub, range(1, 5));
    await seen.count(5);

    await proxy.halt();
    await joined(hub, 0);
    await publishAll(hub, range(6, 10));
    await proxy.restart();
    await seen.count(10);
    await hub.publish(11);
    await seen.count(11);

    expect(seen.seen).toEqual(range(1, 11));
  });

  itNginx('a hub delivers events to many clients', async () => {
    const { hub, sse, ndjson, registry } = await start(platform, config);
    const readers = range(1, 30).map(() => ndjson('/hub'));
    const listeners = await Promise.all(range(1, 30).map(() => sse('/hub')));
    await joined(hub, 60);

    for (const burst of range(0, 9)) {
      await publishAll(hub, range(burst * 10 + 1, burst * 10 + 10));
      await turns(1);
    }

    for (const reader of readers) {
      expect(await reader.until(100)).toEqual(range(1, 100));
    }
    for (const listener of listeners) {
      await listener.until('data: 100\n\n');
      expect(dataOf(listener.body)).toEqual(range(1, 100).map(String));
    }
    for (const client of clients) {
      client.leave();
    }
    await eventually(() => registry.size === 0 && hub.size() === 0);
  });

  itNginx('a refusal reaches the client, with its headers', async () => {
    const { ndjson } = await start(platform, config, { options: { limits: { connections: 1, retryAfter: 7_000 } } });
    await ndjson('/mute').answered();

    const { status, headers, body } = await ndjson('/mute').refused();

    expect(status).toBe(503);
    expect(headers['retry-after']).toBe('7');
    expect(body).toMatchObject({ statusCode: 503 });
  });

  itNginx('streams end cleanly when the application closes', async () => {
    const { sse, ndjson, close } = await start(platform, config, {
      options: { shutdown: { grace: 20, retry: false } },
    });
    const [first, second] = [await sse('/silent/1'), ndjson('/hub')];
    await Promise.all([first.until('\r\n\r\n'), second.answered()]);

    await close();
    await first.until('\r\n0\r\n\r\n');

    expect(await second.ended()).toBe('complete');
  });

  itNginx('chunks that nginx compresses arrive at once, too', async () => {
    const zipping: NginxConfig = (port, app) =>
      `gzip on; gzip_proxied any; gzip_min_length 0; gzip_types application/x-ndjson;\n${config(port, app)}`;
    const { ndjson } = await start(platform, zipping);
    const client = ndjson('/steps', { 'accept-encoding': 'gzip' });

    for (const n of range(1, 5)) {
      script.gates[n - 1]?.resolve();
      expect(await client.until(n)).toEqual(range(1, n));
    }

    expect((await client.answered()).headers['content-encoding']).toBe('gzip');
    expect(await client.ended()).toBe('complete');
  });

  itNginx('chunks that the application compresses arrive at once', async () => {
    const compression: object = { compression: { encodings: ['gzip'], threshold: 0 } };
    const { ndjson } = await start(platform, config, { options: { ...compression } });
    const client = ndjson('/steps', { 'accept-encoding': 'gzip' });

    for (const n of range(1, 5)) {
      script.gates[n - 1]?.resolve();
      expect(await client.until(n)).toEqual(range(1, n));
    }

    expect((await client.answered()).headers['content-encoding']).toBe('gzip');
    expect(await client.ended()).toBe('complete');
  });
});

describe.each(PLATFORMS)('%s behind an nginx with the configuration of docs/deploying.md:', (platform) => {
  const impatient: NginxConfig = (port, app) =>
    documentedConfig(port, app).replace(/proxy_read_timeout \w+;/, 'proxy_read_timeout 1s;');

  itNginx(
    'a silent stream stays open if its heartbeat is shorter than proxy_read_timeout, and is cut off without a heartbeat',
    async () => {
      const { sse } = await start(platform, impatient);
      const beating = await sse('/silent/1');
      await beating.until(':\n\n');
      const mute = await sse('/mute');

      await mute.closed();

      expect(mute.complete).toBe(false);
      expect(await script.closes.count(1)).toEqual(['Feed.mute client-closed']);
      const beats = beating.body.length;
      await eventually(() => beating.body.length > beats);
      expect(beating.socket.destroyed).toBe(false);
    },
  );

  itNginx('streams that end cleanly leave their connection open for the next request', async () => {
    const { ndjson, sockets } = await start(platform, documentedConfig);

    for (let i = 0; i < 5; i++) {
      expect(await ndjson('/short').ended()).toBe('complete');
      await script.closes.count(i + 1);
      await turns();
    }

    expect(sockets.seen).toHaveLength(1);
  });

  itNginx('limits per client count the clients of nginx, whatever addresses they claim', async () => {
    const { ndjson } = await start(platform, documentedConfig, {
      options: { limits: { perClient: 1 } },
      fastify: { trustProxy: '127.0.0.1' },
      configure: (app: INestApplication) => {
        if (platform === 'express') {
          app.getHttpAdapter().getInstance().set('trust proxy', '127.0.0.1');
        }
      },
    });
    await ndjson('/mute', {}, '127.0.0.2').answered();

    const again = await ndjson('/mute', {}, '127.0.0.2').refused();
    const claimed = await ndjson('/mute', { 'x-forwarded-for': '192.0.2.1' }, '127.0.0.2').refused();
    const other = await ndjson('/mute', {}, '127.0.0.3').answered();

    expect([again.status, claimed.status, other.status]).toEqual([429, 429, 200]);
  });

  describe('WebSocket', () => {
    const options: StreamingModuleOptions = { websocket: true };

    itNginx('each message arrives at once, and then the close code', async () => {
      const { websocket: open } = await start(platform, documentedConfig, { options });
      const client = open('/steps');

      for (const n of range(1, 5)) {
        script.gates[n - 1]?.resolve();
        expect(await client.until(n)).toEqual(range(1, n));
      }

      expect(await client.ended()).toBe('1000');
    });

    itNginx('the close codes of an error and of a shutdown arrive', async () => {
      const shutdown = { grace: 20 };
      const { websocket: open, close } = await start(platform, documentedConfig, { options: { ...options, shutdown } });
      const silent = open('/silent/1');
      await silent.answered();

      expect(await open('/failing').ended()).toBe('1011');
      await close();

      expect(await silent.ended()).toBe('1001');
    });

    itNginx('a silent WebSocket stays open if its pings are more frequent than proxy_read_timeout', async () => {
      const { websocket: open, sse } = await start(platform, impatient, { options });
      const client = open('/silent/1');
      await client.answered();
      const mute = await sse('/mute');

      await mute.closed();
      await client.untilHeartbeats(client.beats + 2);

      expect(client.ending).toBeUndefined();
    });

    itNginx('the application notices when a client disconnects', async () => {
      const { websocket: open } = await start(platform, documentedConfig, { options });
      const client = open('/silent/1');
      await client.untilHeartbeats(1);

      client.leave();

      expect(await script.closes.count(1)).toEqual(['Feed.silent client-closed']);
    });

    itNginx('a client that stops reading pauses the source, and receives everything later', async () => {
      const { websocket: open } = await start(platform, documentedConfig, { options });
      const client = open('/export');
      await client.until(1);
      client.stall();

      // Until the buffers of nginx and of the kernel are full.
      script.end = (await untilStable(() => script.pulled, 150)) + 100;
      client.resume();

      expect(await client.ended()).toBe('1000');
      expect(client.records).toHaveLength(script.end);
    });

    itNginx('a refusal is an ordinary response', async () => {
      const limits = { connections: 1 };
      const { websocket: open } = await start(platform, documentedConfig, { options: { ...options, limits } });
      await open('/silent/1').answered();

      expect((await open('/silent/1').refused()).status).toBe(503);
    });
  });
});
