import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  HttpException,
  Inject,
  Injectable,
  Module,
  Param,
  Scope,
  SetMetadata,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { REQUEST, Reflector } from '@nestjs/core';
import { delay, of } from 'rxjs';
import {
  event,
  InjectRuns,
  Runs,
  Sse,
  Stream,
  type StreamHooks,
  StreamingModule,
  type StreamingModuleOptions,
  type StreamOptions,
  UseStreamHooks,
} from '../../lib/index.js';
import { type FakeClock, useFakeClock } from '../../lib/testing/index.js';
import { type AppSetup, PLATFORMS, type Platform, startApp } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { SSE } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { eventually } from '../support/transports.js';
import { WebSocketClient } from '../support/websocket-client.js';

const NEVER = new Promise<never>(() => undefined);
const EVERY_MS = 30_000;

interface Request {
  session?: string;
}

/** What the guards of later checks return or throw. */
let verdict: (context: ExecutionContext) => unknown;
let checks: Recorder<unknown>;
let ended: Recorder<{ readonly code: string; readonly error: unknown }>;

beforeEach(() => {
  verdict = () => true;
  checks = new Recorder();
  ended = new Recorder();
});

const hooks: StreamHooks = { onClose: (_, { code, error }) => ended.add({ code, error }) };
const launch = useApps();

async function start(platform: Platform, setup: AppSetup) {
  const options = { heartbeat: false, hooks, ...setup.options } satisfies StreamingModuleOptions;
  const app = await launch(platform, { ...setup, options });
  return { ...app, clock: useFakeClock(app.app) };
}

/** A controller with `GET /feed`, which sends one chunk and stays open. */
function feedOf(options: StreamOptions, chunk: unknown = 'a') {
  @Controller()
  class Feed {
    @Stream('feed', { format: ['sse', 'ndjson'], ...options })
    async *feed() {
      yield chunk;
      await NEVER;
    }
  }
  return Feed;
}

const guard: CanActivate = {
  canActivate(context) {
    checks.add(context);
    return verdict(context) as boolean;
  },
};
const CHECKED: StreamOptions = { reauthorize: { every: EVERY_MS, guards: [guard] } };

/** Advances the clock until more checks have begun. */
async function untilChecked(clock: FakeClock, count = 1): Promise<void> {
  const wanted = checks.seen.length + count;
  while (checks.seen.length < wanted) {
    await clock.advance(1_000);
  }
}

/** A service of the module with the guard, which no other module exports. */
@Injectable()
class Sessions {
  isOpen(session: string | undefined): boolean {
    checks.add(`session ${session}`);
    return session !== 'closed';
  }
}

@Injectable()
class SessionGuard implements CanActivate {
  constructor(@Inject(Sessions) private readonly sessions: Sessions) {}

  canActivate(context: ExecutionContext) {
    return this.sessions.isOpen(context.switchToHttp().getRequest<Request>().session);
  }
}

/** Its instances belong to one request each, and read it only once. */
@Injectable({ scope: Scope.REQUEST })
class SessionOfRequest {
  readonly session: string | undefined;

  constructor(@Inject(REQUEST) request: Request) {
    this.session = request.session;
  }
}

@Injectable()
class RequestGuard implements CanActivate {
  constructor(@Inject(SessionOfRequest) private readonly request: SessionOfRequest) {}

  canActivate() {
    checks.add(`session ${this.request.session}`);
    return this.request.session !== 'closed';
  }
}

@Injectable({ scope: Scope.REQUEST })
class ScopedGuard extends RequestGuard {
  constructor(@Inject(SessionOfRequest) request: SessionOfRequest) {
    super(request);
  }
}

/** A guard that no module lists, and whose dependency any module provides. */
@Injectable()
class UnlistedGuard extends SessionGuard {}

const SCOPES = new AsyncLocalStorage<string>();

describe.each(PLATFORMS)('%s: the guards of "reauthorize"', (platform) => {
  it.each([
    ['used by the route, in a module that exports nothing', SessionGuard, true],
    ['request-scoped by what it injects', RequestGuard, true],
    ['request-scoped', ScopedGuard, true],
    ['listed nowhere', UnlistedGuard, false],
  ])('may be a class that is %s: it sees the request as it is now', async (_what, Guard, used) => {
    const Feed = feedOf({ reauthorize: { every: EVERY_MS, guards: [Guard] } });
    if (used) {
      UseGuards(Guard)(Feed);
    }
    @Module({ controllers: [Feed], providers: [Sessions, SessionOfRequest] })
    class FeedModule {}
    const app = await start(platform, { imports: [FeedModule] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    const [stream] = [...app.registry];
    const request = stream?.request as Request;

    request.session = 'open';
    await untilChecked(app.clock);
    expect(checks.seen.at(-1)).toBe('session open');
    request.session = 'closed';
    await untilChecked(app.clock);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(client.body).toMatch(/event: error\ndata: \{"statusCode":403,/);
  });

  it('receive the ExecutionContext of the route, in the async context of its handler', async () => {
    const store: unknown[] = [];
    const Feed = feedOf(CHECKED);
    SetMetadata('roles', 'admin')(Feed.prototype.feed);
    const app = await start(platform, {
      controllers: [Feed],
      configure: (nest) => {
        nest.use((_request: unknown, _response: unknown, next: () => void) => SCOPES.run('of the request', next));
      },
    });
    verdict = () => store.push(SCOPES.getStore());
    const client = await app.get('/feed?x=1', SSE);
    await client.until('data: a');
    const [stream] = [...app.registry];

    await untilChecked(app.clock);

    const context = checks.seen[0] as ExecutionContext;
    expect(store).toEqual(['of the request']);
    expect(context.getType()).toBe('http');
    expect(context.getClass()).toBe(Feed);
    expect(context.getHandler()).toBe(Feed.prototype.feed);
    expect(app.app.get(Reflector).get('roles', context.getHandler())).toBe('admin');
    expect(context.switchToHttp().getRequest()).toBe(stream?.request);
    expect(context.switchToHttp().getResponse()).toBeDefined();
  });

  it.each([
    ['a promise of false', () => Promise.resolve(false), 403],
    ['an Observable of false', () => of(false).pipe(delay(0)), 403],
    ['undefined', () => undefined, 403],
    ['a promise of an Observable of false', () => Promise.resolve(of(false)), 403],
    ['UnauthorizedException', () => Promise.reject(new UnauthorizedException()), 401],
    ['HttpException 404', () => Promise.reject(new HttpException('gone', 404)), 404],
  ])('refuse a client with %s', async (_what, refusal, status) => {
    const app = await start(platform, { controllers: [feedOf(CHECKED)] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    verdict = refusal;

    await untilChecked(app.clock);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(client.body).toContain(`event: error\ndata: {"statusCode":${status},`);
    expect(await ended.count(1)).toMatchObject([{ code: 'revoked', error: { status } }]);
    expect(app.logs.of('error')).toEqual([]);
  });

  it('are called one time after the other, between half of "every" and all of it', async () => {
    const app = await start(platform, { controllers: [feedOf(CHECKED)] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    const at: number[] = [];
    let now = 0;
    verdict = () => at.push(now) > 0;
    for (; now < 20 * EVERY_MS; now += 1_000) {
      await app.clock.advance(1_000);
    }

    const waits = at.slice(1).map((time, i) => time - (at[i] as number));
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(EVERY_MS / 2 - 1_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(EVERY_MS + 1_000);
    expect(new Set(waits).size).toBeGreaterThan(1);
  });
});

describe.each(PLATFORMS)('%s: a guard that fails', (platform) => {
  const down = () => Promise.reject(new Error('The store is down'));

  it.each([
    ['an error', down],
    ['429', () => Promise.reject(new HttpException('Too many requests', 429))],
  ])('with %s keeps a stream for five checks, and one that it passes begins again to count', async (_what, fault) => {
    const app = await start(platform, { controllers: [feedOf(CHECKED, event({ id: '1', data: 'a' }))] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    verdict = fault;
    await untilChecked(app.clock, 5);
    verdict = () => true;
    await untilChecked(app.clock);
    verdict = fault;
    await untilChecked(app.clock, 5);
    expect(ended.seen).toEqual([]);

    await untilChecked(app.clock);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(client.body).toMatch(/^id: 1\ndata: a\n\nevent: shutdown\nretry: \d+\ndata: \{\}\n\n$/);
    expect(await ended.count(1)).toMatchObject([{ code: 'error', error: { message: expect.any(String) as string } }]);
    const warnings = app.logs.of('warn');
    expect(warnings[0]).toMatch(
      /^warn Feed\.feed: whether the client of a stream may still read it could not be checked/,
    );
    // At most one in a minute.
    expect(warnings.length).toBeLessThanOrEqual(6);
    expect(app.logs.of('error')).toEqual([]);
  });

  it('with onFault "close" ends a stream: one that cannot be resumed fails', async () => {
    const reauthorize = { every: EVERY_MS, guards: [guard], onFault: 'close' } as const;
    const app = await start(platform, { controllers: [feedOf({ reauthorize })] });
    const client = await app.get('/feed', { Accept: 'application/x-ndjson' });
    await client.until('"a"');
    verdict = down;

    await untilChecked(app.clock);
    await client.closed();

    expect(client.complete).toBe(false);
    expect(client.body).toBe('"a"\n{"error":{"statusCode":500,"message":"Internal server error"}}\n');
    expect(await ended.count(1)).toMatchObject([{ code: 'error', error: { message: 'The store is down' } }]);
  });

  it('to answer counts as failed after 5 seconds. It is not called again before it has answered, and its refusal still counts', async () => {
    const app = await start(platform, { controllers: [feedOf(CHECKED)] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    const answer = deferred<boolean>();
    verdict = () => answer.promise;

    await untilChecked(app.clock);
    await app.clock.advance(4_000);
    expect(app.logs.of('warn')).toEqual([]);
    await app.clock.advance(2_000);
    expect(app.logs.of('warn').join()).toContain('have not answered within 5000 ms');
    await app.clock.advance(2 * EVERY_MS);
    expect(checks.seen.length).toBe(1);
    answer.resolve(false);
    await client.until(/\r\n0\r\n\r\n$/);

    expect(await ended.count(1)).toMatchObject([{ code: 'revoked' }]);
  });

  it('to answer for ever ends the stream after five more checks would have begun', async () => {
    const app = await start(platform, { controllers: [feedOf(CHECKED)] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    verdict = () => NEVER;

    await app.clock.advance(7 * EVERY_MS);
    await client.closed();

    expect(checks.seen.length).toBe(1);
    expect(await ended.count(1)).toMatchObject([{ code: 'error', error: { code: 'invalid-state' } }]);
  });

  it('does not disconnect a client for sendTimeout while it has not answered', async () => {
    const app = await start(platform, { controllers: [feedOf({ ...CHECKED, sendTimeout: 2_000 })] });
    const client = await app.get('/feed', SSE);
    await client.until('data: a');
    const answer = deferred<boolean>();
    verdict = () => answer.promise;

    await untilChecked(app.clock);
    await app.clock.advance(4_000);
    answer.resolve(true);
    await app.clock.advance(4_000);

    expect(app.registry.size).toBe(1);
  });
});

describe('"reauthorize"', () => {
  it('of forRoot() is for all routes, except those with "reauthorize: false"', async () => {
    @Controller()
    class Feed {
      @Sse('checked')
      async *checked() {
        yield 'a';
        await NEVER;
      }

      @Sse('public', { reauthorize: false })
      async *public() {
        yield 'b';
        await NEVER;
      }
    }
    const app = await start('express', { controllers: [Feed], options: CHECKED });
    const checked = await app.get('/checked');
    await checked.until('data: a');
    const open = await app.get('/public');
    await open.until('data: b');
    verdict = () => false;

    await app.clock.advance(2 * EVERY_MS);
    await checked.until(/\r\n0\r\n\r\n$/);

    expect(checks.seen.length).toBe(1);
    expect([...app.registry].map(({ route }) => route)).toEqual(['Feed.public']);
  });

  class NoGuard {}
  @Injectable({ scope: Scope.REQUEST })
  class Unlisted implements CanActivate {
    canActivate = () => true;
  }

  it.each<[string, unknown, string]>([
    ['every', { every: 999, guards: [guard] }, '"reauthorize.every" must be at least 1000'],
    ['every', { every: 2 ** 31, guards: [guard] }, '"reauthorize.every" must be a number of milliseconds above 0'],
    ['every', { guards: [guard] }, '"reauthorize.every" must be a number of milliseconds'],
    ['guards', { every: 30_000 }, '"reauthorize.guards" must be a list of at least one guard'],
    ['guards', { every: 30_000, guards: [] }, '"reauthorize.guards" must be a list of at least one guard'],
    ['guards', { every: 30_000, guards: [undefined] }, 'A class is undefined where two files import each other'],
    ['guards', { every: 30_000, guards: [{}] }, '"reauthorize.guards" must be classes, or objects with canActivate()'],
    ['guards', { every: 30_000, guards: [NoGuard] }, 'is a class without canActivate()'],
    ['guards', { every: 30_000, guards: [Unlisted] }, 'list it in the providers of a module'],
    ['onFault', { every: 30_000, guards: [guard], onFault: 'ignore' }, 'must be one of "keep", "close"'],
    ['onfault', { every: 30_000, guards: [guard], onfault: 'keep' }, 'Did you mean "onFault"?'],
    ['a text', 'always', '"reauthorize" must be an object'],
  ])('with a wrong "%s" is refused at start-up', async (_what, wrong, message) => {
    const Feed = feedOf({ reauthorize: wrong } as StreamOptions);
    const starting = startApp('express', { controllers: [Feed] });
    await expect(starting).rejects.toMatchObject({ code: 'invalid-option' });
    await expect(starting).rejects.toThrow(message);
  });

  it('and "expiresAt" are checked in forRoot() too', async () => {
    const options = { expiresAt: 1 } as unknown as StreamingModuleOptions;
    await expect(startApp('express', { options })).rejects.toThrow('"expiresAt" must be a function');
  });
});

describe.each(PLATFORMS)('%s: the viewer of a run whose access is revoked', (platform) => {
  it('leaves, and the run goes on for the others', async () => {
    const go = deferred();
    @Controller()
    class Answers {
      constructor(@InjectRuns('answers') private readonly runs: Runs<string>) {}

      @Sse('answers/:user', { ...CHECKED, labels: ({ params }: { params: { user: string } }) => params })
      read(@Param('user') _user: string) {
        return this.runs.start('answer', async function* () {
          yield 'a';
          await go.promise;
          yield 'b';
        });
      }
    }
    const app = await start(platform, {
      controllers: [Answers],
      imports: [StreamingModule.registerRuns({ name: 'answers', onDisconnect: { detach: 60_000 } })],
    });
    const [one, other] = [await app.get('/answers/u1'), await app.get('/answers/u2')];
    await one.until('data: a');
    await other.until('data: a');
    verdict = (context) => context.switchToHttp().getRequest<{ params: { user: string } }>().params.user !== 'u1';

    await app.clock.advance(EVERY_MS);
    await one.until(/\r\n0\r\n\r\n$/);
    go.resolve();
    await other.until(/\r\n0\r\n\r\n$/);

    expect(one.body).toMatch(/^id: \S+\ndata: a\n\nevent: error\n/);
    expect(other.body).toMatch(/^id: \S+\ndata: a\n\nid: \S+\ndata: b\n\n$/);
    expect(ended.seen).toMatchObject([{ code: 'revoked' }, { code: 'completed' }]);
  });
});

describe.each(PLATFORMS)('%s: the message {"auth": token} of a WebSocket client', (platform) => {
  const tokens = new Recorder<unknown>();
  let onAuth: (token: unknown) => unknown;
  const authHooks: StreamHooks = {
    onAuth(token, stream) {
      tokens.add(token);
      if (typeof token === 'number') {
        stream.expire(token);
      }
      return onAuth(token);
    },
  };

  beforeEach(() => {
    tokens.seen.splice(0);
    onAuth = () => undefined;
  });

  const read = new Recorder<unknown>();

  @Controller()
  class Chat {
    @UseStreamHooks(authHooks)
    @Stream('with', { format: 'ndjson', expiresAt: () => Date.now() + 10_000 })
    async *with() {
      yield 'a';
      await NEVER;
    }

    @Stream('without', { format: 'ndjson' })
    async *without() {
      yield 'a';
      await NEVER;
    }
  }

  const open = async () => {
    read.seen.splice(0);
    const app = await start(platform, { controllers: [Chat], options: { websocket: true } });
    const client = await WebSocketClient.open(app.url('/with'), ['events.v1+json']);
    await client.messages.count(1);
    return { ...app, client };
  };

  it('reaches the onAuth hooks, which may renew the access', async () => {
    const { client, clock, registry } = await open();

    client.socket.send(JSON.stringify({ auth: Date.now() + 60_000 }));
    client.socket.send(' {\n "auth" : {"token": "t"}}');
    await tokens.count(2);
    await clock.advance(20_000);
    expect(registry.size).toBe(1);
    await clock.advance(50_000);

    expect(await client.closed).toEqual({ code: 4401, reason: 'expired' });
    expect(tokens.seen).toEqual([expect.any(Number), { token: 't' }]);
  });

  it.each([
    ['returns false', () => false, 401],
    ['returns a promise of false', async () => false, 401],
    ['throws UnauthorizedException', () => Promise.reject(new UnauthorizedException('Bad token')), 401],
  ])('ends the stream if a hook %s', async (_what, refuse, status) => {
    const { client } = await open();
    onAuth = refuse;

    client.socket.send('{"auth":"bad"}');

    expect(await client.closed).toEqual({ code: 4401, reason: 'revoked' });
    expect(client.messages.seen.at(-1)).toContain(`{"type":"error","data":{`);
    expect(await ended.count(1)).toMatchObject([{ code: 'revoked', error: { status } }]);
  });

  it('fails the stream if a hook throws another error', async () => {
    const { client, logs } = await open();
    onAuth = () => {
      throw new Error('The hook is broken');
    };

    client.socket.send('{"auth":"x"}');

    expect((await client.closed).code).toBe(1011);
    expect(logs.of('error').join()).toContain('The hook is broken');
  });

  it('waits for the hooks of the one before, and only the newest waits', async () => {
    const { client } = await open();
    const answer = deferred();
    onAuth = () => answer.promise;
    for (const auth of ['1', '2', '3', '4']) {
      client.socket.send(JSON.stringify({ auth }));
    }
    client.socket.ping();
    await new Promise((resolve) => client.socket.once('pong', resolve));

    expect(tokens.seen).toEqual(['1']);
    answer.resolve();
    await tokens.count(2);
    expect(tokens.seen).toEqual(['1', '4']);
  });

  it.each([
    ['has other keys', '{"auth":"x","and":"y"}'],
    ['is not JSON', '{"auth":'],
    ['is a text', '"auth"'],
  ])('is a message as any other if it %s', async (_what, message) => {
    const { client } = await open();

    client.socket.send(message);
    client.socket.send('{"auth":"x"}');
    await tokens.count(1);

    expect(tokens.seen).toEqual(['x']);
  });

  it('is a message as any other on a route without onAuth', async () => {
    const { url, registry } = await open();
    const client = await WebSocketClient.open(url('/without'));
    await client.messages.count(1);
    await eventually(() => registry.size === 2);

    client.socket.send('{"auth":"x"}');
    client.socket.ping();
    await new Promise((resolve) => client.socket.once('pong', resolve));

    expect(tokens.seen).toEqual([]);
    expect(registry.size).toBe(2);
  });
});

describe('An onAuth hook', () => {
  const hook: StreamHooks = { onAuth: () => undefined };

  @Controller()
  class OfMethod {
    @UseStreamHooks(hook)
    @Sse('feed', { protocols: 'http' })
    feed() {
      return [];
    }
  }

  @UseStreamHooks(hook)
  @Controller()
  class OfClass {
    @Sse('feed', { protocols: 'http' })
    feed() {
      return [];
    }
  }

  it.each<[string, AppSetup]>([
    ['a route without WebSocket', { controllers: [OfMethod], options: { websocket: true } }],
    ['a class without WebSocket', { controllers: [OfClass], options: { websocket: true } }],
    ['an application without WebSocket', { options: { hooks: hook } }],
  ])('of %s is refused at start-up', async (_what, setup) => {
    await expect(startApp('express', setup)).rejects.toMatchObject({
      code: 'invalid-hook',
      message: expect.stringContaining('has onAuth(), but there are no WebSockets') as string,
    });
  });
});
