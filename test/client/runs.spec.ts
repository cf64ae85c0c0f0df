import { Controller, HttpCode, Param, Post } from '@nestjs/common';
import { connect } from '../../lib/client/index.js';
import { InjectRuns, LastEventId, Runs, Sse, Stream, StreamingModule, StreamSignal } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { type RunningApp, useApps } from '../support/running.js';

const FAST = { retry: { base: 1, max: 1 } };

/** Each call of the producer. */
let starts: Recorder;
/** Lets the producer send the rest. */
let go: Deferred;

async function* answer(id: string) {
  starts.add(id);
  yield { n: 1 };
  yield { n: 2 };
  await go.promise;
  yield { n: 3 };
  yield { n: 4 };
}

@Controller()
class Answers {
  constructor(@InjectRuns('answers') private readonly runs: Runs<{ n: number }>) {}

  @Post('answers/:id')
  @HttpCode(200)
  @Stream({ format: ['sse', 'ndjson'] })
  ask(@Param('id') id: string, @LastEventId() after?: string) {
    return after ? this.runs.join(id, { after }) : this.runs.start(id, () => answer(id));
  }

  @Sse('answers/:id')
  read(@Param('id') id: string, @LastEventId() after?: string) {
    return this.runs.join(id, { after });
  }

  /** The method is the producer of the run. */
  @Post('produced/:id')
  @HttpCode(200)
  @Stream({ format: ['sse', 'ndjson'], onDisconnect: 'detach' })
  produce(@Param('id') id: string, @StreamSignal() _signal: AbortSignal) {
    return answer(id);
  }
}

beforeEach(() => {
  starts = new Recorder();
  go = deferred();
});

function cut(app: RunningApp): void {
  for (const socket of app.sockets.seen) {
    socket.destroy();
  }
}

describe.each(PLATFORMS)('%s: a client of a run', (platform) => {
  const launch = useApps();
  const start = () =>
    launch(platform, {
      controllers: [Answers],
      imports: [StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' })],
    });

  it.each(['answers', 'produced'])(
    'repeats a POST to %s by itself after a cut, which joins the same run in place of starting another one',
    async (route) => {
      const app = await start();
      const stream = connect<{ n: number }>(app.url(`/${route}/a`), { ...FAST, method: 'POST', body: { q: 1 } });
      const numbers: unknown[] = [];
      for await (const { data, id } of stream) {
        numbers.push(data.n);
        expect(id).toBeDefined();
        if (data.n === 2) {
          cut(app);
          go.resolve();
        }
      }
      expect(numbers).toEqual([1, 2, 3, 4]);
      expect(starts.seen).toEqual(['a']);
    },
  );

  it('starts it with POST, and continues with GET where it was when the page was loaded again', async () => {
    const app = await start();
    const stored = new Map<string, string>();
    const resume = {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, id: string) => void stored.set(key, id),
    };
    const url = app.url('/answers/a');
    // The first page. It reads the beginning twice: with the POST that starts the run, and with GET.
    const asking = connect<{ n: number }>(url, { method: 'POST' });
    expect((await asking.next()).value?.data.n).toBe(1);
    asking.close();
    const first = connect<{ n: number }>(url, { resume });
    expect((await first.next()).value?.data.n).toBe(1);
    expect((await first.next()).value?.data.n).toBe(2);
    // The page goes away while it shows the second item.
    first.close();

    const second = connect<{ n: number }>(url, { resume });
    const numbers: unknown[] = [];
    for await (const { data } of second) {
      numbers.push(data.n);
      go.resolve();
    }
    expect(numbers).toEqual([2, 3, 4]);
    expect(starts.seen).toEqual(['a']);
    expect([...stored]).toEqual([[`GET ${url}`, '']]);
  });

  it('that asks again after the end of the run receives nothing twice', async () => {
    const app = await start();
    go.resolve();
    const url = app.url('/answers/a');
    let last = '';
    for await (const { id } of connect(url, { method: 'POST' })) {
      last = id ?? '';
    }
    const again = connect(url, { resume: { get: () => last, set: () => undefined } });
    expect(await again.next()).toEqual({ done: true, value: undefined });
    expect(starts.seen).toEqual(['a']);
  });
});
