import { ReadableStream } from 'node:stream/web';
import { from } from 'rxjs';
import { event, flush, MemoryBroker, type Runs } from '../../lib/index.js';
import { Runs as OpenRuns } from '../../lib/run/runs.js';

/** What compiles here is a part of the test: `npm run typecheck`. */
describe('The type of runs', () => {
  let broker: MemoryBroker;
  let runs: Runs<number>;

  beforeEach(async () => {
    broker = new MemoryBroker();
    const services = {
      describeError: () => ({ statusCode: 500, message: '' }),
      errorOf: () => new Error('failed'),
      warn: () => undefined,
    };
    runs = (await OpenRuns.open({ name: 'numbers' }, broker, services, 'the test')) as Runs<number>;
  });

  afterEach(async () => {
    await (runs as OpenRuns<number>).close();
    await broker.close();
  });

  it('accepts every kind of source of the right chunks, and views have them', async () => {
    const views = [
      await runs.start('array', () => [1, 2]),
      await runs.start('events', function* () {
        yield event({ type: 'x', data: 1 });
        yield flush();
        yield Promise.resolve(2);
      }),
      await runs.start('generator', async function* ({ signal }) {
        yield signal.aborted ? 0 : 1;
        yield 2;
      }),
      await runs.start('promise', async () => new Set([1, 2])),
      await runs.start('observable', () => from([1, 2])),
      await runs.start('web stream', () => ReadableStream.from([1, 2])),
    ];

    for (const view of views) {
      const data: number[] = [];
      for await (const chunk of view) {
        data.push(chunk.data);
      }
      expect(data).toEqual([1, 2]);
    }
  });

  it('does not accept other chunks, nor what cannot be read', async () => {
    // @ts-expect-error these are no numbers
    const words = runs.start('words', () => ['one']);
    // @ts-expect-error a text is not a number
    const text = runs.start('text', () => 'one');
    // @ts-expect-error there is nothing to iterate
    const unreadable = runs.start('unreadable', () => ({ one: 1 }));

    await Promise.all([words, text, unreadable]);
    await expect((async () => (await runs.get('unreadable'))?.status)()).resolves.toBe('failed');
  });
});
