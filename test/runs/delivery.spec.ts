import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Controller, Get, Param, Post } from '@nestjs/common';
import { InjectRuns, LastEventId, MemoryBroker, type Run, Runs, Stream, StreamingModule } from '../../lib/index.js';
import { Runs as OpenRuns } from '../../lib/run/runs.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import { useApps } from '../support/running.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const MANY = 10_000;
const MANY_MS = 60_000;
const FORMATS = ['sse', 'ndjson', 'text'] as const;
const TYPES = { sse: 'text/event-stream', ndjson: 'application/x-ndjson', text: 'text/plain' };
const RUNS = StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' });

let go: ReturnType<typeof deferred<void>>;

@Controller('answers')
class Answers {
  constructor(@InjectRuns('answers') private readonly runs: Runs<string>) {}

  @Post(':id')
  @Stream({ format: FORMATS })
  start(@Param('id') id: string) {
    return this.runs.start(id, async function* () {
      yield 'one ';
      yield 'two ';
      await go.promise;
      yield 'three';
    });
  }

  @Get(':id')
  @Stream({ format: FORMATS })
  join(@Param('id') id: string, @LastEventId() after?: string) {
    return this.runs.join(id, { after });
  }
}

beforeEach(() => {
  go = deferred();
});

describe.each(PLATFORMS)('%s: a client that reloads in the middle of a run', (platform) => {
  const launch = useApps();

  it.each(FORMATS)(
    'receives all of it without an id, in the format %s, whichever format it was started in',
    async (format) => {
      const app = await launch(platform, { controllers: [Answers], imports: [RUNS] });
      for (const other of FORMATS) {
        const first = await app.get(`/answers/${other}`, { Accept: TYPES[other] }, 'POST');
        await first.until('two');
        first.disconnect();
      }
      const bodies = FORMATS.map(async (other) => {
        const client = await app.get(`/answers/${other}`, { Accept: TYPES[format] });
        await client.until('two');
        return client;
      });
      const clients = await Promise.all(bodies);
      go.resolve();

      for (const client of clients) {
        await client.until('three');
        const body = client.body.replaceAll(/^id: .*\n/gm, '');
        expect(body).toBe(
          {
            sse: 'data: one \n\ndata: two \n\ndata: three\n\n',
            ndjson: '"one "\n"two "\n"three"\n',
            text: 'one two three',
          }[format],
        );
      }
    },
  );

  it('receives what follows its id, also in a format that sends no ids', async () => {
    const app = await launch(platform, { controllers: [Answers], imports: [RUNS] });
    const first = await app.get('/answers/a', { Accept: TYPES.sse }, 'POST');
    await first.until('two');
    first.disconnect();
    const [, id = ''] = /id: (\S+)\ndata: one/.exec(first.body) ?? [];

    const clients = await Promise.all(
      FORMATS.map((format) => app.get('/answers/a', { Accept: TYPES[format], 'Last-Event-ID': id })),
    );
    await Promise.all(clients.map((client) => client.until('two')));
    go.resolve();
    await Promise.all(clients.map((client) => client.until('three')));

    expect(clients.map(({ body }) => body.replaceAll(/^id: .*\n/gm, ''))).toEqual([
      'data: two \n\ndata: three\n\n',
      '"two "\n"three"\n',
      'two three',
    ]);
  });
});

describe.each(PLATFORMS)('%s: a run of a route with onDisconnect', (platform) => {
  const launch = useApps();

  @Controller('tokens')
  class Tokens {
    @Get()
    @Stream({ format: 'sse', onDisconnect: 'detach' })
    async *tokens() {
      yield 'one';
      await go.promise;
      yield 'two';
    }
  }

  it('is joined on another process, and goes on when the stream of a viewer is closed by the server', async () => {
    const broker = new MemoryBroker();
    const setup = { controllers: [Tokens], options: { broker } };
    const [one, other] = [await launch(platform, setup), await launch(platform, setup)];
    const first = await one.get('/tokens');
    await first.until('one');
    const [, location = ''] = /^content-location: (.*)\r$/im.exec(first.head) ?? [];
    expect(await one.registry.close()).toBe(1);

    const second = await other.get(location);
    await second.until('one');
    go.resolve();

    await second.until('two');
    expect(second.body.replaceAll(/^id: .*\n/gm, '')).toBe('data: one\n\ndata: two\n\n');
  });

  it('is told by the ids of its events alone if its URL is so long that proxies would refuse the head', async () => {
    const app = await launch(platform, { controllers: [Tokens] });
    const first = await app.get(`/tokens?question=${'x'.repeat(3_000)}`);
    await first.until('one');
    expect(first.head).not.toMatch(/^content-location:/im);
    const [, id = ''] = /id: (\S+)/.exec(first.body) ?? [];
    first.disconnect();

    const second = await app.get('/tokens', { 'Last-Event-ID': id });
    go.resolve();

    await second.until('two');
    expect(second.body.replaceAll(/^id: .*\n/gm, '')).toBe('data: two\n\n');
  });
});

describe('A run over HTTP/2', () => {
  const launch = useApps();
  const session = useSessions();

  it('goes on when its stream is reset, and another stream of the same connection receives the rest', async () => {
    const app = await launch('fastify', { controllers: [Answers], imports: [RUNS], fastify: { http2: true } });
    const client = await session(app.port);
    const first = client.get('/answers/a', { ':method': 'POST', accept: TYPES.sse });
    await first.until('two');
    first.stream.close();
    await first.closed();
    const [, id = ''] = /id: (\S+)\ndata: two/.exec(first.received) ?? [];
    const second = client.get('/answers/a', { accept: TYPES.sse, 'last-event-id': id });
    await second.head();
    go.resolve();

    expect((await second.closed()).replaceAll(/^id: .*\n/gm, '')).toBe('data: three\n\n');
    expect(second.complete).toBe(true);
    const late = client.get('/answers/a', { accept: TYPES.sse, ':method': 'HEAD' });
    await late.closed();
    expect(late.status).toBe(200);
  });
});

describe('After 10 000 runs', () => {
  it(
    'their producers and chunks are not held in memory, although their logs are kept',
    async () => {
      const broker = new MemoryBroker();
      const services = {
        describeError: () => ({ statusCode: 500, message: '' }),
        errorOf: () => new Error('failed'),
        warn: () => undefined,
      };
      const runs = (await OpenRuns.open({ name: 'many' }, broker, services, 'the test')) as OpenRuns<object>;
      const held: WeakRef<object>[] = [];
      const readOne = async (id: string): Promise<void> => {
        const view = await runs.start(id, function* (run: Run) {
          const chunk = { id };
          held.push(new WeakRef(run), new WeakRef(chunk));
          yield chunk;
        });
        for await (const chunk of view) {
          held.push(new WeakRef(chunk));
        }
      };
      for (let started = 0; started < MANY; started += 100) {
        await Promise.all(Array.from({ length: 100 }, (_, index) => readOne(`run ${started + index}`)));
      }
      expect(held).toHaveLength(3 * MANY);

      do {
        await pause(100);
        collectGarbage();
      } while (held.some((each) => each.deref() !== undefined));
      expect(runs.figures).toEqual([]);

      await runs.close();
      await broker.close();
    },
    MANY_MS,
  );
});
