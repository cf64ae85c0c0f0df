import { Controller, Delete, Get, HttpCode, type INestApplicationContext, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventSource } from 'eventsource';
import {
  getRunsToken,
  InjectRuns,
  LastEventId,
  MemoryBroker,
  type Run,
  Runs,
  type RunsOptions,
  Stream,
  StreamingModule,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { realProcess } from '../support/real-process.js';
import { type RunningApp, useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

/** What the producers of a test wait for, and what has become of them. */
class Model {
  readonly runs: Run[] = [];
  readonly aborts = new Recorder();
  readonly gate = deferred();
}

function chatOf(model: Model): new (runs: Runs) => object {
  @Controller('chat')
  class Chat {
    constructor(@InjectRuns('answers') readonly runs: Runs) {}

    @Post(':id')
    @HttpCode(200)
    @Stream({ format: ['sse', 'ndjson', 'text'] })
    send(@Param('id') id: string) {
      return this.runs.start(id, (run) => this.answer(run), { ended: 'replay' });
    }

    @Get(':id')
    @Stream({ format: ['sse', 'ndjson', 'text'] })
    resume(@Param('id') id: string, @LastEventId() after?: string) {
      return this.runs.join(id, { after });
    }

    @Delete(':id')
    @HttpCode(204)
    stop(@Param('id') id: string) {
      return this.runs.stop(id);
    }

    private async *answer(run: Run): AsyncGenerator<string> {
      model.runs.push(run);
      run.signal.addEventListener('abort', () => model.aborts.add((run.signal.reason as { code: string }).code));
      if (run.id === 'early') {
        throw new Error('a secret of the server');
      }
      yield 'one';
      yield 'one';
      await model.gate.promise;
      if (run.id === 'fails') {
        throw new Error('a secret of the server');
      }
      yield 'two';
    }
  }
  return Chat;
}

const OPTIONS: RunsOptions = { name: 'answers', onDisconnect: 'detach' };
const rejections: unknown[] = [];
const onRejection = (reason: unknown): void => void rejections.push(reason);
beforeAll(() => realProcess.on('unhandledRejection', onRejection));
afterAll(() => realProcess.off('unhandledRejection', onRejection));
afterEach(() => expect(rejections.splice(0)).toEqual([]));

/** Reads a body up to a text, and goes on in the background. */
class Reader {
  received = '';
  readonly over: Promise<string>;
  private readonly parts = new Recorder();

  constructor(readonly response: Response) {
    this.over = this.read();
  }

  async until(text: string): Promise<void> {
    for (let n = 1; !this.received.includes(text); n++) {
      await this.parts.count(n);
    }
  }

  private async read(): Promise<string> {
    try {
      for await (const part of this.response.body ?? []) {
        this.received += Buffer.from(part as Uint8Array).toString();
        this.parts.add(this.received);
      }
      return 'complete';
    } catch {
      return 'cut off';
    }
  }
}

describe.each(PLATFORMS)('%s: what users of other libraries complain about:', (platform) => {
  const apps = useApps();
  let model: Model;
  const start = async (broker = new MemoryBroker(), options: Partial<RunsOptions> = {}): Promise<RunningApp> =>
    apps(platform, {
      controllers: [chatOf(model)],
      imports: [StreamingModule.registerRuns({ ...OPTIONS, ...options })],
      options: { broker, websocket: true },
    });
  const open = (app: RunningApp, path: string, init: RequestInit & { accept?: string } = {}): Promise<Response> =>
    fetch(app.url(path), { ...init, headers: { accept: init.accept ?? 'text/event-stream', ...init.headers } });
  const post = (app: RunningApp, path: string, accept?: string) => open(app, path, { method: 'POST', accept });
  beforeEach(() => {
    model = new Model();
  });

  it('a stop is told from a reload: the run goes on after one, and ends after the other, on any process', async () => {
    const broker = new MemoryBroker();
    const [a, b] = [await start(broker), await start(broker)];
    const leaving = new AbortController();
    const first = await open(a, '/chat/1', { method: 'POST', signal: leaving.signal });
    await first.body?.getReader().read();
    leaving.abort();
    const back = new Reader(await open(b, '/chat/1'));
    await back.until('one');
    expect(model.aborts.seen).toEqual([]);

    expect((await open(b, '/chat/1', { method: 'DELETE' })).status).toBe(204);

    expect(model.aborts.seen).toEqual(['stopped']);
    expect(await back.over).toBe('cut off');
    expect(back.received).toContain('event: error\ndata: {"statusCode":409,"message":"The run was stopped"}');
    expect(a.logs.of('error').concat(a.logs.of('warn'), b.logs.of('error'), b.logs.of('warn'))).toEqual([]);
  });

  it('the end is never lost: who joins late, resumes, or has all of it learns that the answer is complete', async () => {
    const app = await start();
    const first = new Reader(await post(app, '/chat/1'));
    await first.until('one\n');
    model.gate.resolve();
    expect(await first.over).toBe('complete');
    const ids = [...first.received.matchAll(/^id: (.*)$/gm)].map(([, id]) => id ?? '');
    expect(new Set(ids).size).toBe(3);

    for (const accept of ['text/event-stream', 'application/x-ndjson', 'text/plain']) {
      const late = new Reader(await open(app, '/chat/1', { accept }));
      expect(await late.over).toBe('complete');
      expect(late.received.match(/one/g)?.length).toBe(2);
      const rest = new Reader(await open(app, '/chat/1', { accept, headers: { 'last-event-id': ids[1] ?? '' } }));
      expect(await rest.over).toBe('complete');
      expect(rest.received).toContain('two');
      expect(rest.received).not.toContain('one');
      const none = await open(app, '/chat/1', { accept, headers: { 'last-event-id': ids[2] ?? '' } });
      expect([none.status, await none.text()]).toEqual([204, '']);
    }
    expect((await open(app, '/chat/unknown')).status).toBe(204);
  });

  it('nobody hangs when a source fails: all get the same status before the first chunk, and an error after', async () => {
    const broker = new MemoryBroker();
    const [a, b] = [await start(broker), await start(broker)];
    for (const response of [await post(a, '/chat/early'), await open(b, '/chat/early'), await open(a, '/chat/early')]) {
      expect([response.status, await response.json()]).toEqual([
        500,
        { statusCode: 500, message: 'Internal server error' },
      ]);
    }
    const errors = (): string[] => [...a.logs.of('error'), ...b.logs.of('error')];
    // Nest's exception filter logs what it responds with 500 to.
    const before = errors().length;
    const viewers = [await post(a, '/chat/fails'), await open(b, '/chat/fails')].map((each) => new Reader(each));
    await Promise.all(viewers.map((viewer) => viewer.until('one')));
    model.gate.resolve();
    for (const viewer of viewers) {
      expect(await viewer.over).toBe('cut off');
      expect(viewer.received).toContain('event: error\ndata: {"statusCode":500,"message":"Internal server error"}');
      expect(viewer.received).not.toContain('secret');
    }
    // Both applications of this process log with the logger of the second.
    expect([...a.logs.of('warn'), ...b.logs.of('warn')].length).toBe(2);
    expect(errors().slice(before)).toEqual([]);
  });

  it('a stuck producer is stopped by maxDuration', async () => {
    const app = await start(new MemoryBroker(), { maxDuration: 100 });
    const viewer = new Reader(await post(app, '/chat/1'));

    expect(await viewer.over).toBe('cut off');
    expect(model.aborts.seen).toEqual(['deadline']);
    expect(viewer.received).toContain('maximum duration');
  });

  it('a repeated POST does not pay twice, on any process, during the run and after it', async () => {
    const broker = new MemoryBroker();
    const [a, b] = [await start(broker), await start(broker)];
    const pairs = Array.from({ length: 100 }, (_, n) => [post(a, `/chat/${n}`), post(b, `/chat/${n}`)]).flat();
    const viewers = (await Promise.all(pairs)).map((response) => new Reader(response));
    model.gate.resolve();
    expect(new Set(await Promise.all(viewers.map(({ over }) => over)))).toEqual(new Set(['complete']));
    expect(new Set(viewers.map(({ received }) => received.replaceAll(/^id: .*$/gm, '')))).toEqual(
      new Set(['\ndata: one\n\n\ndata: one\n\n\ndata: two\n\n']),
    );

    const again = new Reader(await post(b, '/chat/7'));
    expect(await again.over).toBe('complete');
    expect(model.runs.length).toBe(100);
  });

  it('an EventSource stops after a completed run, and does not reconnect for ever', async () => {
    const app = await start();
    void post(app, '/chat/1');
    const statuses = new Recorder();
    const seen = new Recorder();
    const source = new EventSource(app.url('/chat/1'), {
      fetch: async (url, init) => {
        const response = await fetch(url, { ...init, headers: { ...init?.headers } });
        statuses.add(String(response.status));
        return response;
      },
    });
    source.addEventListener('message', ({ data }) => seen.add(data));
    const closed = deferred();
    source.addEventListener('error', () => source.readyState === EventSource.CLOSED && closed.resolve());
    await seen.count(2);
    model.gate.resolve();

    await closed.promise;
    expect(seen.seen).toEqual(['one', 'one', 'two']);
    expect(statuses.seen.at(-1)).toBe('204');
    source.close();
  });

  it('a HEAD views nothing, and a WebSocket receives what others do', async () => {
    const app = await start(new MemoryBroker(), { onDisconnect: 'cancel' });
    const first = new Reader(await post(app, '/chat/1'));
    await first.until('one');
    const head = await open(app, '/chat/1', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const socket = await WebSocketClient.open(app.url('/chat/1'));
    await socket.messages.count(2);
    expect(model.aborts.seen).toEqual([]);
    model.gate.resolve();

    expect(await first.over).toBe('complete');
    expect(await socket.all()).toEqual(['one', 'one', 'two']);
    expect((await socket.closed).code).toBe(1000);
  });

  it('a process without HTTP starts runs, and closes with one in progress', async () => {
    const broker = new MemoryBroker();
    const app = await start(broker);
    @Module({
      imports: [StreamingModule.forRoot({ broker, shutdown: { grace: 0 } }), StreamingModule.registerRuns(OPTIONS)],
    })
    class Worker {}
    const context: INestApplicationContext = await NestFactory.createApplicationContext(Worker, { logger: false });
    const runs = context.get<Runs>(getRunsToken('answers'));
    await runs.start('job', async function* () {
      yield 'done by a worker';
      await model.gate.promise;
    });
    const viewer = new Reader(await open(app, '/chat/job'));
    await viewer.until('done by a worker');

    await context.close();

    expect(await viewer.over).toBe('cut off');
    expect(viewer.received).toContain('shutting down');
  });
});
