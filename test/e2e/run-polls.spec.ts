import { Controller, Get, HttpCode, Param, Post, type Type } from '@nestjs/common';
import {
  getRunsToken,
  InjectRuns,
  LastEventId,
  Runs,
  type RunsOptions,
  Stream,
  StreamingModule,
  type StreamOptions,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();

/** Lets the producer continue, once for each step. */
let steps: Deferred[];
/** How often the signal of a run was aborted. */
let aborted: Recorder;

beforeEach(() => {
  steps = Array.from({ length: 4 }, () => deferred());
  aborted = new Recorder();
});

/** Two chunks, and two more after each step. Fails after the last one. */
async function* produce(fails: boolean, signal?: AbortSignal): AsyncGenerator<unknown> {
  signal?.addEventListener('abort', () => aborted.add('aborted'));
  for (const [index, step] of steps.entries()) {
    yield { n: 2 * index + 1 };
    yield { n: 2 * index + 2 };
    await step.promise;
  }
  if (fails) {
    throw new Error('secret');
  }
}

@Controller('runs')
class Chat {
  constructor(@InjectRuns('answers') readonly runs: Runs) {}

  @Post(':id')
  @HttpCode(200)
  @Stream({ format: ['sse', 'ndjson', 'json'] })
  start(@Param('id') id: string) {
    return this.runs.start(id, ({ signal }) => produce(id === 'fails', signal));
  }

  @Get(':id')
  @Stream({ format: ['sse', 'ndjson', 'json'] })
  join(@Param('id') id: string, @LastEventId() after?: string) {
    return this.runs.join(id, { after });
  }
}

interface Poll {
  readonly status: number;
  readonly body: string;
  readonly id: string | null;
  readonly headers: Headers;
}

const WAIT = 'wait=50';

async function start(platform: Platform, controllers: Type[], runs: Partial<RunsOptions> = { onDisconnect: 'detach' }) {
  const app = await launch(platform, {
    controllers,
    imports: [StreamingModule.registerRuns({ name: 'answers', ...runs })],
  });
  const poll = async (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Poll> => {
    const response = await fetch(app.url(path), { method, headers: { Prefer: WAIT, ...headers } });
    const { status } = response;
    return {
      status,
      body: await response.text(),
      id: response.headers.get('last-event-id'),
      headers: response.headers,
    };
  };
  return { ...app, poll };
}

function numbersIn(body: string): number[] {
  return [...body.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n));
}

const FORMATS = ['text/event-stream', 'application/x-ndjson', 'application/json'];

describe.each(PLATFORMS)('%s: a long poll of a run', (platform) => {
  it.each(FORMATS)('reads a whole run of %s in several polls, without loss or duplicates', async (Accept) => {
    const app = await start(platform, [Chat]);
    const first = await app.poll('/runs/1', { Accept }, 'POST');
    expect(first.status).toBe(200);
    expect(numbersIn(first.body).length).toBeGreaterThan(0);
    const numbers = numbersIn(first.body);
    let after = first.id;

    for (let polls = 0; after !== null; polls++) {
      if (numbers.length % 2 === 0) {
        steps[numbers.length / 2 - 1]?.resolve();
      }
      const poll = await app.poll('/runs/1', { Accept, 'Last-Event-ID': after });
      numbers.push(...numbersIn(poll.body));
      expect(polls).toBeLessThan(20);
      after = poll.id;
    }

    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(aborted.seen).toEqual([]);
  });

  it('responds with one complete body, its length, and the id after which the next poll continues', async () => {
    const app = await start(platform, [Chat]);
    await app.app.get(Chat).runs.start('1', () => [{ n: 1 }, { n: 2 }]);
    while ((await app.app.get(Chat).runs.get('1'))?.status !== 'completed') {
      await turns(1);
    }

    const { status, body, headers, id } = await app.poll('/runs/1', { Accept: 'text/event-stream' });

    expect(status).toBe(200);
    const ids = [...body.matchAll(/^id: (.*)$/gm)].map(([, each]) => each);
    expect(body).toBe(`id: ${ids[0]}\ndata: {"n":1}\n\nid: ${ids[1]}\ndata: {"n":2}\n\n`);
    expect(id).toBe(ids[1]);
    expect(headers.get('content-length')).toBe(String(body.length));
    expect(headers.get('transfer-encoding')).toBe(null);
    expect(headers.get('preference-applied')).toBe(WAIT);
    expect(headers.get('cache-control')).toBe('no-store');
  });

  it('waits for a chunk if there is none, and responds with 204 and an id if none comes in time', async () => {
    const app = await start(platform, [Chat]);
    const first = await app.poll('/runs/1', { Accept: 'application/x-ndjson' }, 'POST');
    let after = first.id ?? '';
    if (numbersIn(first.body).length === 1) {
      after = (await app.poll('/runs/1', { 'Last-Event-ID': after })).id ?? '';
    }

    const empty = await app.poll('/runs/1', { Prefer: 'wait=0', 'Last-Event-ID': after });
    expect([empty.status, empty.body, empty.id]).toEqual([204, '', after]);

    const waiting = app.poll('/runs/1', { 'Last-Event-ID': after });
    steps[0]?.resolve();
    expect(numbersIn((await waiting).body)[0]).toBe(3);
  });

  it('responds with 204 and without an id when the run is over and was read, and when there is none', async () => {
    const app = await start(platform, [Chat]);
    for (const step of steps) {
      step.resolve();
    }
    const whole = await (
      await fetch(app.url('/runs/1'), { method: 'POST', headers: { Accept: 'text/event-stream' } })
    ).text();
    const last = [...whole.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';

    for (const [path, id] of [
      ['/runs/1', last],
      ['/runs/2', ''],
    ] as const) {
      const over = await app.poll(path, { 'Last-Event-ID': id });
      expect([over.status, over.body, over.id]).toEqual([204, '', null]);
    }
  });

  it('responds with the chunks before an error, and to the next poll with the status of the error', async () => {
    const app = await start(platform, [Chat]);
    for (const step of steps) {
      step.resolve();
    }
    await (await fetch(app.url('/runs/fails'), { method: 'POST' })).text().catch(() => undefined);

    const chunks = await app.poll('/runs/fails', { Accept: 'application/x-ndjson' });
    expect([chunks.status, numbersIn(chunks.body)]).toEqual([200, [1, 2, 3, 4, 5, 6, 7, 8]]);

    const failed = await app.poll('/runs/fails', { 'Last-Event-ID': chunks.id ?? '' });
    expect([failed.status, failed.body]).toEqual([500, '{"statusCode":500,"message":"Internal server error"}']);
  });

  it('is a normal stream if the run would end with the poll, as its last viewer leaves', async () => {
    const app = await start(platform, [Chat], { onDisconnect: 'cancel' });
    for (const step of steps) {
      step.resolve();
    }

    const { body, headers } = await app.poll('/runs/1', {}, 'POST');

    expect(numbersIn(body)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(headers.get('preference-applied')).toBe(null);
    expect(aborted.seen).toEqual([]);
  });

  it.each([
    ['detach', WAIT],
    ['cancel', null],
  ] as const)('starts and joins the runs of a route with onDisconnect: %j', async (onDisconnect, applied) => {
    const options: StreamOptions = { onDisconnect, format: 'ndjson' };
    @Controller()
    class Feed {
      @Stream('feed', options)
      feed() {
        return [{ n: 1 }, { n: 2 }];
      }
    }
    const app = await start(platform, [Feed]);

    const first = await app.poll('/feed');
    const numbers = numbersIn(first.body);
    if (numbers.length === 1) {
      numbers.push(...numbersIn((await app.poll('/feed', { 'Last-Event-ID': first.id ?? '' })).body));
    }

    expect(numbers).toEqual([1, 2]);
    expect(first.headers.get('preference-applied')).toBe(applied);
    expect(first.headers.get('content-location')).toMatch(/^\/feed\?lastEventId=[\w-]{22}$/);
  });

  it('leaves chunks over the limit of a poll for the next one', async () => {
    const app = await start(platform, [Chat]);
    await app.app.get(Chat).runs.start('1', () => Array.from({ length: 2_500 }, (_, i) => ({ n: i })));
    while ((await app.app.get(Chat).runs.get('1'))?.status !== 'completed') {
      await turns(1);
    }
    const counts: number[] = [];
    let numbers: number[] = [];
    for (let id: string | null = ''; id !== null; ) {
      const poll: Poll = await app.poll('/runs/1', { Accept: 'application/x-ndjson', 'Last-Event-ID': id });
      counts.push(numbersIn(poll.body).length);
      numbers = [...numbers, ...numbersIn(poll.body)];
      id = poll.id;
    }

    expect(counts).toEqual([1_000, 1_000, 500, 0]);
    expect(numbers).toEqual(Array.from({ length: 2_500 }, (_, i) => i));
  });
});

describe.each(PLATFORMS)('%s: a HEAD request for a run', (platform) => {
  it('is no viewer that leaves, so the run goes on that nobody has viewed yet', async () => {
    const app = await start(platform, [Chat], { onDisconnect: 'cancel' });
    const runs = app.app.get<Runs>(getRunsToken('answers'));
    await runs.start('1', ({ signal }) => produce(false, signal));

    expect((await fetch(app.url('/runs/1'), { method: 'HEAD' })).status).toBe(200);
    await turns(5);

    expect(await runs.get('1')).toMatchObject({ status: 'running', viewers: 0 });
    const view = await runs.join('1');
    for await (const { data } of view) {
      expect(data).toEqual({ n: 1 });
      break;
    }
    await aborted.count(1);
    expect((await runs.get('1'))?.reason).toBe('client-closed');
  });
});
