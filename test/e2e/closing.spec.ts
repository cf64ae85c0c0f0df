import { connect as connectTls } from 'node:tls';
import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  type INestApplication,
  Param,
  type PipeTransform,
  Post,
  UseFilters,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { EventSource } from 'eventsource';
import { Observable } from 'rxjs';
import {
  type BrokerPosition,
  type BrokerTail,
  Hub,
  InjectHub,
  MemoryBroker,
  Sse,
  Stream,
  type StreamConnection,
  type StreamHooks,
  StreamingModule,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { TLS, useSessions } from '../support/http2-client.js';
import { hubOf, joined, range, SSE } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';

const NEVER = new Promise<never>(() => undefined);

let called = new Recorder();
let gate = deferred();

beforeEach(() => {
  called = new Recorder();
  gate = deferred();
});

@Controller()
class Plain {
  @Get('slow')
  async slow() {
    called.add('slow');
    await gate.promise;
    return 'slow but whole';
  }

  @Sse('feed')
  async *feed() {
    yield 'x';
    await NEVER;
  }
}

describe.each(PLATFORMS)('%s: app.close() does not wait for', (platform) => {
  const start = useApps();

  it('connections without a request', async () => {
    const { connect, close, sockets } = await start(platform, { controllers: [Plain] });
    const spare = await Promise.all(range(1, 3).map(() => connect()));
    await sockets.count(3);

    await close();

    await Promise.all(spare.map((client) => client.closed()));
  });

  it('connections of a closed EventSource that uses fetch()', async () => {
    const { url, close, app, registry } = await start(platform, { controllers: [Plain] });
    const source = new EventSource(url('/feed'));
    await new Promise((resolve) => source.addEventListener('message', resolve));
    app.getHttpServer().keepAliveTimeout = 600_000;

    source.close();
    await close();

    expect(registry.size).toBe(0);
  });

  it('connections that are kept alive after a response, also one that is sent after app.close() was called', async () => {
    const { get, close, app } = await start(platform, { controllers: [Plain] });
    app.getHttpServer().keepAliveTimeout = 600_000;
    const client = await get('/slow', { Connection: 'keep-alive' });
    await called.count(1);

    const closed = close();
    while (app.getHttpServer().listening) {
      await turns(1);
    }
    gate.resolve();
    await closed;

    await client.closed();
    expect(client.body).toBe('slow but whole');
  });
});

const SERVERS: [string, NonNullable<AppSetup['fastify']>, boolean, boolean][] = [
  ['HTTPS', { https: TLS }, true, false],
  ['HTTP/2', { http2: true }, false, true],
  ['HTTP/2 with TLS', { http2: true, https: TLS }, true, true],
];

describe.each(SERVERS)('%s: app.close() does not wait for', (_name, fastify, tls, http2) => {
  const start = useApps();
  const session = useSessions();

  it('connections without a request, with or without a handshake', async () => {
    const { connect, close, sockets, port } = await start('fastify', { controllers: [Plain], fastify });
    const spare = await connect();
    const shaken = tls ? connectTls({ port, host: '127.0.0.1', ca: TLS.cert, servername: 'localhost' }) : undefined;
    const gone = shaken && new Promise((resolve) => shaken.on('close', resolve));
    if (shaken) {
      shaken.on('error', () => undefined).resume();
      await new Promise((resolve) => shaken.on('secureConnect', resolve));
    }
    await sockets.count(tls ? 2 : 1);

    await close();

    await spare.closed();
    await gone;
  });

  it('anything except the response to a request that is being processed', async () => {
    const { close, port, app } = await start('fastify', { controllers: [Plain], fastify });
    const answer = http2 ? (await session(port, { tls })).get('/slow').closed() : fetchOver(port);
    await called.count(1);

    const closed = close();
    while (app.getHttpServer().listening) {
      await turns(1);
    }
    gate.resolve();

    expect(await answer).toContain('slow but whole');
    await closed;
  });
});

/** The body of /slow over HTTPS, on a connection that the client keeps alive. */
function fetchOver(port: number): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', ca: TLS.cert, servername: 'localhost' });
  let received = '';
  socket.write('GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n');
  socket.on('data', (data) => {
    received += String(data);
  });
  return new Promise((resolve) => socket.on('close', () => resolve(received)));
}

/** Hangs forever, each class at another place of a request. */
const hangs = async (what: string): Promise<never> => {
  called.add(what);
  return NEVER;
};
const HangingGuard: CanActivate = { canActivate: () => hangs('guard') };
const HangingPipe: PipeTransform = { transform: () => hangs('pipe') };
const HangingInterceptor = {
  intercept: (_context: ExecutionContext, _next: CallHandler) => hangs('interceptor'),
};
@Catch()
class HangingFilter implements ExceptionFilter {
  catch(_error: unknown, _host: ArgumentsHost): Promise<never> {
    return hangs('filter');
  }
}

@Controller('stuck')
class Stuck {
  @UseGuards(HangingGuard)
  @Sse('guard')
  guard() {
    return ['x'];
  }

  @Sse('pipe/:id')
  pipe(@Param('id', HangingPipe) id: string) {
    return [id];
  }

  @UseInterceptors(HangingInterceptor)
  @Sse('interceptor')
  interceptor() {
    return ['x'];
  }

  @UseFilters(HangingFilter)
  @Sse('filter')
  filter() {
    throw new Error('broken');
  }

  @Stream('handler')
  handler() {
    return hangs('handler');
  }

  @Sse('return')
  return() {
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          called.add('return');
          return NEVER;
        },
        return: () => hangs('returned'),
      }),
    };
  }

  @Sse('teardown')
  teardown() {
    return new Observable(() => {
      called.add('teardown');
      return () => hangs('torn down');
    });
  }
}

describe.each(SERVERS.filter(([, , , http2]) => http2))('%s: app.close() finishes', (_name, fastify, tls) => {
  const start = useApps();
  const session = useSessions();

  it('if a request hangs in a guard, and logs which request it abandoned', async () => {
    const { close, port, logs } = await start('fastify', { controllers: [Stuck], fastify });
    const client = await session(port, { tls });
    const stuck = client.get('/stuck/guard');
    await called.count(1);

    await close();

    await stuck.closed();
    expect(stuck.complete).toBe(false);
    expect(logs.of('warn')).toEqual([
      'warn GET /stuck/guard was aborted: it was not answered within 500 ms after the server was closed',
    ]);
  });
});

describe.each(PLATFORMS)('%s: app.close() finishes, and logs what it abandoned, if', (platform) => {
  const start = useApps();
  const options = { shutdown: { grace: 20 } };

  async function closeWith(path: string, what: string, setup: Partial<AppSetup> = {}) {
    const { get, close, logs } = await start(platform, { controllers: [Stuck], options, ...setup });
    const client = await get(path, SSE);
    await called.count(1);
    expect(called.seen[0]).toBe(what);

    await close();

    await client.closed();
    return { client, logs };
  }

  it.each(['guard', 'pipe/1', 'interceptor', 'filter'])('a request hangs in a %s', async (path) => {
    const { client, logs } = await closeWith(`/stuck/${path}`, path.replace('/1', ''));

    expect(client.received).toBe('');
    expect(logs.of('warn')).toEqual([
      `warn GET /stuck/${path} was aborted: it was not answered within 500 ms after the server was closed`,
    ]);
  });

  it('a request hangs in middleware', async () => {
    const { logs } = await closeWith('/stuck/handler', 'middleware', {
      configure: (app: INestApplication) => void app.use(() => hangs('middleware')),
    });

    expect(logs.of('warn')).toEqual([
      'warn GET /stuck/handler was aborted: it was not answered within 500 ms after the server was closed',
    ]);
  });

  it.each([
    ['handler', 'handler'],
    ['return', 'return() of an iterator'],
    ['teardown', 'teardown of an Observable'],
  ])('a stream hangs in a %s, and its client receives a response', async (path) => {
    const { client } = await closeWith(`/stuck/${path}`, path);

    expect(client.received).toMatch(/^HTTP\/1\.1 (200|503)/);
    expect(client.received).not.toBe('');
  });

  it.each(['onOpen', 'beforeChunk', 'beforeClose'] as const)('an %s hook hangs', async (name) => {
    const hooks: StreamHooks = { [name]: () => hangs(name) };
    const { get, close, logs, registry } = await start(platform, {
      controllers: [Plain],
      options: { ...options, hooks },
    });
    await get('/feed', SSE);
    while (registry.size === 0 || (name !== 'beforeClose' && called.seen.length === 0)) {
      await turns(1);
    }

    await close();

    const [line, ...others] = logs.of('warn');
    if (name === 'beforeChunk') {
      expect(line).toBeUndefined();
    } else {
      expect(line).toMatch(
        new RegExp(
          `Plain\\.feed \\(stream \\w+\\) was closed\\. .*shutting down, and its ${name} hook had not finished$`,
        ),
      );
    }
    expect(others).toEqual([]);
  });

  it.each(['onShutdown', 'onClose'] as const)('an %s hook hangs, which app.close() does not wait for', async (name) => {
    const hooks: StreamHooks = { [name]: (_stream: StreamConnection) => hangs(name) };
    const { get, close } = await start(platform, { controllers: [Plain], options: { ...options, hooks } });
    const client = await get('/feed', SSE);
    await client.until('data: x');

    await close();
    await client.closed();

    expect(client.complete).toBe(true);
    expect(called.seen).toEqual([name]);
  });

  it('an onError hook hangs', async () => {
    @Controller()
    class Failing {
      @Sse('failing')
      async *failing() {
        yield 'x';
        throw new Error('broken');
      }
    }
    const { get, close, logs } = await start(platform, {
      controllers: [Failing],
      options: { ...options, hooks: { onError: () => hangs('onError') } },
    });
    await get('/failing', SSE);
    await called.count(1);

    await close();

    expect(logs.of('warn')).toEqual([expect.stringContaining('its onError hook had not finished')]);
  });
});

/** A broker of which one method hangs. */
class StuckBroker extends MemoryBroker {
  constructor(private readonly what: 'append' | 'stop' | 'close') {
    super();
  }

  override append(...args: Parameters<MemoryBroker['append']>): Promise<BrokerPosition> {
    return this.what === 'append' ? hangs('append') : super.append(...args);
  }

  override async tail(...args: Parameters<MemoryBroker['tail']>): Promise<BrokerTail> {
    const tail = await super.tail(...args);
    return this.what === 'stop' ? { ...tail, stop: () => hangs('stop') } : tail;
  }

  override close(): Promise<void> {
    return this.what === 'close' ? hangs('close') : super.close();
  }
}

@Controller()
class Prices {
  constructor(@InjectHub('feed') private readonly hub: Hub) {}

  @Sse('prices')
  prices() {
    return this.hub.subscribe();
  }

  @Post('prices')
  publish() {
    return this.hub.publish(1);
  }
}

describe.each(PLATFORMS)(
  '%s: app.close() finishes, and logs what it abandoned, if there is a broker whose',
  (platform: Platform) => {
    const launch = useApps();

    async function start(what: ConstructorParameters<typeof StuckBroker>[0], setup: Partial<AppSetup> = {}) {
      const app = await launch(platform, {
        controllers: [Prices],
        imports: [StreamingModule.registerHub({ name: 'feed', broker: new StuckBroker(what) })],
        ...setup,
      });
      const client = await app.get('/prices', SSE);
      await joined(hubOf(app), 1);
      return { ...app, client };
    }

    it('append() never settles, and publish() rejects, also in a request, and the streams of clients end', async () => {
      const { app, close, client, logs, get } = await start('append');
      const published = hubOf({ app }).publish(1);
      const refused = expect(published).rejects.toMatchObject({ code: 'hub-closed' });
      const request = await get('/prices', { 'Content-Length': '0' }, 'POST');
      await called.count(2);

      await close();

      await refused;
      await client.closed();
      expect(client.complete).toBe(true);
      await request.closed();
      expect(request.head).toMatch(/^HTTP\/1\.1 500/);
      expect(logs.of('warn')).toEqual([
        'warn The hub "feed" gave up waiting for its broker: append() of 2 events took more than 2000 ms',
      ]);
    });

    it('append() never settles, also for events that are published while the application closes', async () => {
      const { app, close, get, client } = await start('append', { options: { shutdown: { grace: 100 } } });
      const first = hubOf({ app }).publish(1);
      first.catch(() => undefined);
      const closed = close();
      await turns();
      const request = await get('/prices', { 'Content-Length': '0' }, 'POST');
      await called.count(2);

      await closed;

      await request.closed();
      expect(request.head).toMatch(/^HTTP\/1\.1 500/);
      await client.closed();
    });

    it.each([
      ['stop', 'The hub "feed" gave up waiting for its broker: stop() of its tail took more than 2000 ms'],
      ['close', 'StuckBroker was not closed in time: its close() took more than 5000 ms'],
    ] as const)('%s() never resolves', async (what, message) => {
      const { close, client, logs } = await start(what);

      await close();

      await client.closed();
      expect(client.complete).toBe(true);
      expect(called.seen).toEqual([what]);
      expect(logs.of('warn')).toEqual([`warn ${message}`]);
    });
  },
);
