import { Piscina } from 'piscina';
import { fromWorker } from '../../lib/worker/index.js';
import { act, fileOf, leaveBlocked, Notes, read, useThreads } from './support.js';

describe('fromWorker() with a pool of Piscina', () => {
  let pool: Piscina;

  // Before the check that no thread is left. A stream may end just before its task: destroy() would fail at the answer of the thread.
  afterEach(() => pool.close());

  const threads = useThreads();

  beforeEach(() => {
    pool = new Piscina({ minThreads: 1, maxThreads: 1 });
  });

  it('stops the producer of a stream that ends early, and runs the next ones in the same thread', async () => {
    const notes = new Notes();
    const iterator = act('endless', { notes }, { pool })[Symbol.asyncIterator]();

    const first = await iterator.next();
    await iterator.return?.();
    const whole = await read(fromWorker(fileOf('count.mjs'), { data: 3, pool, ring: 4_096 }));

    expect([first.value, notes.finallies, whole]).toEqual([1, 1, [1, 2, 3]]);
    expect(threads.started).toBe(1);
  });

  it('fails with the error of a producer, and runs the next ones', async () => {
    await expect(read(act('fails', { chunks: [1] }, { pool }))).rejects.toMatchObject({ code: 'E_RANGE' });

    expect(await read(act('chunks', { chunks: [1, 2] }, { pool }))).toEqual([1, 2]);
  });

  it('ends the thread of a producer that does not stop, and starts another one', async () => {
    await leaveBlocked(pool);

    expect(threads.started).toBe(2);
  });
});
