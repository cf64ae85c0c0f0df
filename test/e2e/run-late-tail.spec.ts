import {
  type BrokerListener,
  type BrokerTail,
  getRunsToken,
  MemoryBroker,
  type Runs,
  StreamingModule,
} from '../../lib/index.js';
import { deferred, Recorder } from '../support/events.js';
import { useApps } from '../support/running.js';

const launch = useApps();

/** A broker whose new records can be read before they are delivered, as over a network. */
class LateBroker extends MemoryBroker {
  /** The topics of all records that were appended to runs, and `chunk` for those without one. */
  readonly appended = new Recorder();
  private held: (() => void)[] | undefined;

  override tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    return super.tail(log, (records, position) => {
      if (this.held) {
        this.held.push(() => listener(records, position));
      } else {
        listener(records, position);
      }
    });
  }

  override async appendAll(...args: Parameters<MemoryBroker['appendAll']>) {
    const result = await super.appendAll(...args);
    const [log, entries] = args;
    // Nothing is appended if another process was faster. Another log lists the processes.
    for (const { topic } of !result || log.endsWith('/nodes') ? [] : entries) {
      this.appended.add(topic ?? 'chunk');
    }
    return result;
  }

  hold(): void {
    this.held = [];
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const deliver of held) {
      deliver();
    }
  }
}

/** The runs of one process. */
async function runsOn(broker: LateBroker): Promise<Runs<string>> {
  const { app } = await launch('express', {
    options: { broker },
    imports: [StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' })],
  });
  return app.get(getRunsToken('answers'));
}

/** Starts a run of three chunks, of which the last and the end are in the log, but not delivered yet. */
async function startAhead(broker: LateBroker, runs: Runs<string>) {
  const go = deferred();
  const view = await runs.start('a1', async function* () {
    yield 'one';
    yield 'two';
    await go.promise;
    yield 'three';
  });
  await broker.appended.count(2);
  broker.hold();
  go.resolve();
  await broker.appended.count(4);
  expect(broker.appended.seen.at(-1)).toBe('~end');
  return view[Symbol.asyncIterator]();
}

describe('runs whose broker delivers later than it lets read', () => {
  it('a viewer that has read the last records before they are delivered receives the end', async () => {
    const broker = new LateBroker();
    const chunks = await startAhead(broker, await runsOn(broker));
    expect([await chunks.next(), await chunks.next(), await chunks.next()]).toMatchObject([
      { value: { data: 'one' } },
      { value: { data: 'two' } },
      { value: { data: 'three' } },
    ]);
    const end = chunks.next();

    broker.release();

    expect(await end).toEqual({ done: true, value: undefined });
  });

  it('a viewer that comes to another process with the id of a record that is not delivered there yet receives no reset', async () => {
    const broker = new LateBroker();
    const [one, other] = [await runsOn(broker), await runsOn(broker)];
    const go = deferred();
    const chunks = (
      await one.start('a1', async function* () {
        yield 'one';
        await go.promise;
        yield 'two';
      })
    )[Symbol.asyncIterator]();
    const viewer = (await other.join('a1'))[Symbol.asyncIterator]();
    const [{ value: first }] = await Promise.all([chunks.next(), viewer.next()]);
    broker.hold();
    go.resolve();
    while (broker.appended.seen.at(-1) !== '~end') {
      await broker.appended.count(broker.appended.seen.length + 1);
    }

    // The first record of a log is not appended, but created with it.
    const newest = (1 + broker.appended.seen.length).toString(36);
    const view = await other.join('a1', { after: first?.id?.replace(/[^.]+$/, newest) });

    expect(view.found).toBe(false);
    broker.release();
  });

  it('a run is found in another process whose newest knowledge is that there is none', async () => {
    const broker = new LateBroker();
    const [one, other] = [await runsOn(broker), await runsOn(broker)];
    expect((await other.join('a1')).found).toBe(false);
    broker.hold();

    await one.start('a1', () => ['one']);

    expect((await other.join('a1')).found).toBe(true);
    broker.release();
  });

  it('a run is stopped by another process that knows only an earlier run with its id', async () => {
    const broker = new LateBroker();
    const [one, other] = [await runsOn(broker), await runsOn(broker)];
    await one.start('a1', () => ['one']);
    while ((await other.get('a1'))?.status !== 'completed') {
      await new Promise(setImmediate);
    }
    broker.hold();
    const stopped = deferred();
    await one.start('a1', async function* ({ signal }) {
      yield 'two';
      signal.addEventListener('abort', () => stopped.resolve());
      await stopped.promise;
    });

    const stop = other.stop('a1');
    await broker.appended.count(4);
    broker.release();

    await stop;
    await stopped.promise;
    expect(await other.get('a1')).toMatchObject({ status: 'stopped' });
  });
});
