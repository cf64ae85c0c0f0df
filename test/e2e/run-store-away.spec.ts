import { setTimeout as pause } from 'node:timers/promises';
import {
  type BrokerCondition,
  type BrokerEntry,
  type BrokerPosition,
  MemoryBroker,
  StreamError,
} from '../../lib/index.js';
import type { RunsOptions } from '../../lib/run/run.options.js';
import { Runs } from '../../lib/run/runs.js';
import { deferred } from '../support/events.js';
import { turns } from '../support/running.js';

type Method = 'create' | 'appendAll' | 'expire' | 'read' | 'drop';

/** A broker whose calls a test lets fail. */
class UnreliableBroker extends MemoryBroker {
  /** The logs that were created, also again. */
  readonly created: string[] = [];
  /** Awaited before each call. The call rejects if it rejects. */
  before: (method: Method, log: string) => unknown = () => undefined;
  /** Awaited after each call, whose answer is lost if it rejects. */
  after: (method: Method, log: string) => unknown = () => undefined;

  override create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    condition?: BrokerCondition,
  ): Promise<BrokerPosition | false> {
    this.created.push(log);
    return this.call('create', log, () => super.create(log, entries, ms, condition));
  }

  override appendAll(log: string, entries: readonly BrokerEntry[], condition?: BrokerCondition) {
    return this.call('appendAll', log, () => super.appendAll(log, entries, condition));
  }

  override expire(log: string, ms: number) {
    return this.call('expire', log, () => super.expire(log, ms));
  }

  override read(log: string, after: number, count: number) {
    return this.call('read', log, () => super.read(log, after, count));
  }

  override drop(log: string) {
    return this.call('drop', log, () => super.drop(log));
  }

  private async call<R>(method: Method, log: string, run: () => Promise<R>): Promise<R> {
    await this.before(method, log);
    const result = await run();
    await this.after(method, log);
    return result;
  }
}

const isAway = (): never => {
  throw new StreamError('broker-unavailable', 'The test lets it fail', { statusCode: 503 });
};

/** The warnings of all processes. */
let warnings: string[];
let broker: UnreliableBroker;
let processes: Runs[];

beforeEach(() => {
  warnings = [];
  broker = new UnreliableBroker();
  processes = [];
});

afterEach(async () => {
  broker.before = broker.after = () => undefined;
  await Promise.all(processes.map((each) => each.close()));
  await broker.close();
});

/** Opens the runs of one of several processes. */
async function open(options: Partial<RunsOptions> = {}): Promise<Runs> {
  const runs = await Runs.open(
    { name: 'answers', onDisconnect: 'detach', ...options },
    broker,
    {
      describeError: () => ({ statusCode: 500, message: 'secret' }),
      errorOf: ({ message }) => new Error(String(message)),
      warn: (message) => void warnings.push(message),
    },
    'the test',
  );
  processes.push(runs);
  return runs;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await pause(5);
  }
}

/** The logs of runs. */
const logsOfRuns = (): string[] =>
  [...new Set(broker.created)].filter((log) => !/\/(node-|nodes|owner-|list-)/.test(log));

describe('A client that repeats its request to stop a run', () => {
  it('does not make the log longer if the run is not started yet', async () => {
    const runs = await open();
    for (let i = 0; i < 20; i++) {
      await runs.stop('early', { owner: 'me' });
      await runs.stop('early', { owner: 'you' });
    }

    const [log = ''] = logsOfRuns();
    expect(await broker.read(log, 0, 100)).toHaveLength(2);
    for (const owner of ['me', 'you']) {
      await runs.start('early', () => ['never sent'], { owner, onConflict: 'replace' }).catch(() => undefined);
    }
    expect(await runs.get('early')).toMatchObject({ status: 'stopped', items: 0 });
  });

  it('does not make the log longer if the process of the run does not react', async () => {
    const [one, two] = [await open(), await open()];
    await one.start('busy', async function* ({ signal }) {
      yield 'first';
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    });
    const [log = ''] = logsOfRuns();
    const { promise: gone, resolve: react } = deferred<void>();
    let appends = 0;
    // The end of the run, after its chunk and a request to stop it, cannot be written yet.
    broker.before = (method, name) => (method === 'appendAll' && name === log && appends++ === 2 ? gone : undefined);
    await until(async () => (await two.get('busy'))?.items === 1);

    const stopping = [two.stop('busy')];
    await until(async () => (await broker.read(log, 0, 100)).some(({ topic }) => topic === '~stop'));
    stopping.push(...Array.from({ length: 10 }, () => two.stop('busy')));
    await turns(20);
    react();
    await Promise.all(stopping);

    const records = await broker.read(log, 0, 100);
    expect(records.filter(({ topic }) => topic === '~stop')).toHaveLength(1);
  });
});

describe('While the broker is away', () => {
  it('a run is lost, and does not count for its owner any more when the broker is back', async () => {
    const runs = await open({ lease: 300, limits: { perOwner: 1 } });
    const { promise: produced, resolve: produce } = deferred<void>();
    await runs.start(
      'first',
      async function* () {
        await produced;
        yield 'first';
      },
      { owner: 'me' },
    );

    broker.before = isAway;
    produce();
    await until(() => warnings.some((each) => each.includes('was lost')));
    broker.before = () => undefined;

    await until(() =>
      runs
        .start('second', () => [], { owner: 'me' })
        .then(
          () => true,
          ({ code }) => code !== 'run-limit',
        ),
    );
    expect(warnings).not.toContain('A run that is over still counts for its owner');
  });

  it('the last viewer of a process leaves whose lease runs out, and the run is stopped when the broker is back', async () => {
    const [one, two] = [await open({ onDisconnect: 'cancel', lease: 60_000 }), await open({ lease: 300 })];
    const { promise: aborted, resolve: abort } = deferred<unknown>();
    await one.start('run', async function* ({ signal }) {
      signal.addEventListener('abort', () => abort(signal.reason));
      yield 'first';
      await aborted;
    });
    const viewer = (await two.join('run'))[Symbol.asyncIterator]();
    await viewer.next();
    await until(async () => (await one.get('run'))?.viewers === 1);

    broker.before = isAway;
    await viewer.return?.();
    await until(() => warnings.some((each) => each.includes('could not be told')));
    await MemoryBroker.prototype.drop.call(broker, `~runs/answers/node-${two.processId}`);
    broker.before = () => undefined;

    expect(await aborted).toMatchObject({ code: 'client-closed' });
  });

  it('renewals of the lease do not pile up, so that the process can be closed', async () => {
    const runs = await open({ lease: 3 });
    const { promise: answer, resolve: refuse } = deferred<void>();
    let calls = 0;
    broker.before = async () => {
      calls++;
      await answer;
      isAway();
    };
    await until(() => calls > 0);
    // Several dozens of renewals are due.
    await pause(200);

    const closed = runs.close().catch(({ code }) => code);
    refuse();

    expect(await closed).toBe('broker-unavailable');
    expect(calls).toBeLessThan(10);
  });

  it('a run is ended of which it is not known whether it has begun, also if the broker goes away again meanwhile', async () => {
    const [one, two] = [await open(), await open()];
    const isLog = (log: string): boolean => logsOfRuns().includes(log);
    // The answer is lost, and then the connection.
    broker.after = (method, log) => method === 'create' && isLog(log) && isAway();
    broker.before = (method, log) => method === 'read' && broker.created.includes(log) && isLog(log) && isAway();
    await expect(one.start('unsure', () => ['never sent'])).rejects.toMatchObject({ code: 'broker-unavailable' });

    let appends = 0;
    broker.after = () => undefined;
    broker.before = (method, log) => method === 'appendAll' && isLog(log) && appends++ === 0 && isAway();

    await until(async () => (await two.get('unsure'))?.status === 'lost');
    expect(appends).toBe(2);
  });
});

describe('Of many start() calls for one id and one owner in one process', () => {
  it('one competes for the run, and the others join it', async () => {
    const runs = await open({ limits: { perOwner: 2 } });
    let writes = 0;
    broker.before = (method, log) => {
      writes += Number(method !== 'read' && log.includes('/owner-'));
      return turns(2);
    };
    let produced = 0;
    const { promise: end, resolve: finish } = deferred<void>();
    const views = await Promise.all(
      Array.from({ length: 100 }, () =>
        runs.start(
          'same',
          async function* () {
            yield ++produced;
            await end;
          },
          { owner: 'me' },
        ),
      ),
    );
    const writesToStart = writes;
    finish();

    for (const view of views) {
      const chunks: unknown[] = [];
      for await (const { data } of view) {
        chunks.push(data);
      }
      expect(chunks).toEqual([1]);
    }
    expect(writesToStart).toBeLessThanOrEqual(2);
  });

  it('all fail with the error of the one that competes', async () => {
    const runs = await open({ limits: { perOwner: 1 } });
    await runs.start('other', () => new Promise<never[]>(() => undefined), { owner: 'me' });

    const results = await Promise.allSettled(
      Array.from({ length: 30 }, () => runs.start('same', () => ['never sent'], { owner: 'me' })),
    );

    expect(results.map((result) => (result.status === 'rejected' ? result.reason.code : 'started'))).toEqual(
      results.map(() => 'run-limit'),
    );
  });
});

it('A run stays deleted, although its producer cannot write its end until later', async () => {
  const [one, two] = [await open(), await open()];
  const view = await one.start('run', async function* ({ signal }) {
    yield 'private';
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  });
  const [log = ''] = logsOfRuns();
  const { promise: back, resolve: come } = deferred<void>();
  await until(async () => (await broker.read(log, 0, 10)).length === 2);
  let appends = 0;
  // The first append is the request to stop, and the second one is the end of the run.
  broker.before = (method, of) => (method === 'appendAll' && of === log && ++appends > 1 ? back : undefined);

  await two.delete('run');
  expect(await two.get('run')).toBeUndefined();
  come();
  await until(() => one.figures.length === 0);
  await turns(20);

  expect([await one.get('run'), await two.get('run')]).toEqual([undefined, undefined]);
  expect((await two.join('run')).found).toBe(false);
  view.close();
}, 60_000);
