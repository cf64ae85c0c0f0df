import { getEventListeners } from 'node:events';
import { flush, StreamCloseError, StreamError } from '../../lib/index.js';
import { fromWorker, produce } from '../../lib/worker/index.js';
import { realProcess } from '../support/real-process.js';
import { untilStable } from '../support/running.js';
import { act, fileOf, leaveBlocked, Notes, OneThread, read, readUntilError, until, useThreads } from './support.js';

const RING = { ring: 4_096 };

describe('fromWorker()', () => {
  const threads = useThreads();

  describe.each([
    ['by messages', {}, 8],
    // It has room for fewer lines.
    ['through a ring', RING, 4],
  ])('%s', (_, options, lines) => {
    it('yields the chunks of the worker in their order, and ends with it', async () => {
      const got = await read(fromWorker<number>(fileOf('count.mjs'), { data: 5_000, ...options }));

      expect(got).toEqual(Array.from({ length: 5_000 }, (_, index) => index + 1));
    });

    it('keeps the order of strings, bytes, objects and chunks that are larger than the ring', async () => {
      const expected = Array.from({ length: 2_000 }, (_, n) => [
        `text ${n}`,
        [n % 256, 1],
        ...(n % 100 === 0 ? [{ n }] : []),
        ...(n % 500 === 0 ? ['large '.repeat(10_000)] : []),
        ...(n % 700 === 0 ? ['ä€𝄞'] : []),
        ...(n % 900 === 0 ? ['\ud834'] : []),
      ]).flat();
      const numbers = (chunk: unknown) => (chunk instanceof Uint8Array ? [...chunk] : chunk);

      const got = (await read(act('mixed', {}, options))).map(numbers);

      expect(got).toEqual(expected.flatMap((each) => [each]));
    });

    it('yields empty and unusual values', async () => {
      const chunks = ['', new Uint8Array(0), undefined, null, 0, false, [], new Date(0), new Map([[1, 2]]), 2n];

      expect(await read(act('chunks', { chunks }, options))).toEqual(chunks);
    });

    it('stops the worker when the reader does not read, and lets it continue when it does', async () => {
      const notes = new Notes();
      const iterator = act('lines', { notes }, { queue: { items: 8, bytes: 8_000 }, ...options })[
        Symbol.asyncIterator
      ]();
      await iterator.next();

      await until(() => notes.produced >= lines);
      const stopped = await untilStable(() => notes.produced, 200);
      for (let n = 0; n < 200; n++) {
        await iterator.next();
      }
      await until(() => notes.produced > 200);
      const later = await untilStable(() => notes.produced, 200);
      await iterator.return?.();

      expect(stopped).toBeLessThanOrEqual(9);
      expect(later).toBeGreaterThan(200);
      expect(later).toBeLessThanOrEqual(209);
    });

    it('leaves the generator when the reader stops, and resolves when its thread has exited', async () => {
      const notes = new Notes();

      for await (const _ of act('endless', { notes }, options)) {
        break;
      }

      expect(notes.finallies).toBe(1);
      expect(threads.alive).toBe(0);
      expect(threads.started).toBe(1);
    });

    it('aborts the signal of the producer before it leaves the generator, also while that computes', async () => {
      const notes = new Notes();
      const iterator = act('looking', { notes }, options)[Symbol.asyncIterator]();
      await iterator.next();
      await until(() => notes.produced === 1);

      const left = iterator.return?.();
      Atomics.store(notes.words, 0, 2);
      await left;

      expect(notes.seen).toBe(1);
    });

    it('drops the chunks that were not read when the signal is aborted', async () => {
      const controller = new AbortController();
      const notes = new Notes();
      const iterator = act('lines', { notes }, { ...options, signal: controller.signal })[Symbol.asyncIterator]();
      await iterator.next();
      await until(() => notes.produced > 3);

      controller.abort(new Error('enough'));

      await expect(iterator.next()).rejects.toThrow('enough');
      await threads.gone();
    });

    it('throws the reason of an abort after the end of the worker, if not all of its chunks were read', async () => {
      const controller = new AbortController();
      const iterator = act('chunks', { chunks: [1, 2, 3] }, { ...options, signal: controller.signal })[
        Symbol.asyncIterator
      ]();
      await iterator.next();
      await threads.gone();

      controller.abort(new Error('enough'));

      await expect(iterator.next()).rejects.toThrow('enough');
      await expect(iterator.next()).resolves.toEqual({ done: true, value: undefined });
    });

    it('throws the error of the producer after its chunks', async () => {
      const { got, error } = await readUntilError(act('fails', { chunks: ['one', 'two'] }, options));

      expect(got).toEqual(['one', 'two']);
      expect(error).toBeInstanceOf(RangeError);
      expect(error).toMatchObject({ message: 'out of range', code: 'E_RANGE', details: { limit: 3 } });
      expect((error as Error).cause).toBeInstanceOf(TypeError);
      expect((error as Error).stack).toContain('acts.mjs');
    });

    it('throws an error that says which value cannot be cloned, after the chunks before it', async () => {
      const notes = new Notes();

      const { got, error } = await readUntilError(act('uncloneable', { notes }, options));

      expect(got).toEqual(['fine']);
      expect(error).toBeInstanceOf(StreamError);
      expect(error).toMatchObject({ code: 'not-serializable' });
      expect((error as Error).message).toMatch(/a value \(Object\) that cannot be cloned.*Yield strings/);
      expect([notes.produced, notes.finallies]).toEqual([0, 1]);
    });

    it('throws an error if the worker exits, after the chunks before it', async () => {
      const { got, error } = await readUntilError(act('exits', { code: 0 }, options));

      expect(got).toEqual(['first']);
      expect(error).toMatchObject({ code: 'worker-failed' });
      expect((error as Error).message).toMatch(/acts\.mjs exited with code 0 before the end of its stream/);
    });

    it('keeps events and flush marks', async () => {
      const got = await read(act('events', {}, options));

      expect(got).toHaveLength(5);
      expect(got[0]).toMatchObject({ id: '1', type: 'tick', data: { n: 1 } });
      expect((got[0] as Record<string, unknown>)['nestjs-streaming']).toBe(Symbol.for('nestjs-streaming:event'));
      expect(got[1]).toEqual({ id: '2', data: 'shape' });
      expect(got[3]).toBe(flush());
    });

    it('awaits the promises of a sync generator', async () => {
      expect(await read(act('promises', {}, options))).toEqual([1, 2]);
    });

    it.each([['no row'], [undefined]])('leaves a sync generator whose promise rejects: %p', async (reason) => {
      const notes = new Notes();

      const { got, error } = await readUntilError(act('rejects', { notes, chunks: [reason] }, options));

      expect(got).toEqual(['first']);
      expect(error).toBe(reason);
      expect(notes.finallies).toBe(1);
    });

    it('yields objects as they were when the worker yielded them', async () => {
      const got = await read(act<{ n: number }>('reused', {}, options));

      const rows = [0, 1, 2].map((n) => ({ n, list: [n] }));
      expect(got).toEqual(rows.flatMap((row) => [row, expect.objectContaining({ data: row })]));
    });
  });

  describe('sends bytes', () => {
    it('so that small arrays may be used again, and large ones are moved', async () => {
      const got = await read(act<Uint8Array>('bytes'));

      expect(got.map((each) => [each.byteLength, each[0]])).toEqual([
        [4, 1],
        [4, 2],
        [4, 3],
        [100_000, 7],
        [6, 'p'.charCodeAt(0)],
        [10_000, 8],
      ]);
    });

    it.each(['twice', 'later'])('and fails if an array that was moved is yielded again (%s)', async (name) => {
      const { error } = await readUntilError(act(name));

      expect(error).toMatchObject({ code: 'invalid-argument' });
      expect((error as Error).message).toMatch(/yielded a Uint8Array twice.*bytes\.slice\(\)/);
    });
  });

  describe('when it is aborted', () => {
    it('is seen by a loop that computes, with the reason', async () => {
      const notes = new Notes();
      const controller = new AbortController();
      const reason = new StreamCloseError('client-closed', 'gone');
      const iterator = act('computing', { notes }, { signal: controller.signal, grace: 100_000 })[
        Symbol.asyncIterator
      ]();
      await iterator.next();
      const next = iterator.next();
      await until(() => notes.seen === 1);

      controller.abort(reason);

      await expect(next).rejects.toBe(reason);
      await threads.gone();
      expect([notes.seen, notes.produced]).toEqual([2, 1]);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    });

    it.each(['stuck', 'listening'])('leaves a generator that waits, and runs its finally blocks (%s)', async (name) => {
      const notes = new Notes();
      const controller = new AbortController();
      const grace = name === 'stuck' ? 300 : 100_000;
      const iterator = act(name, { notes }, { signal: controller.signal, grace })[Symbol.asyncIterator]();
      await iterator.next();
      await until(() => notes.seen === 1);

      controller.abort();

      await expect(iterator.next()).rejects.toMatchObject({ name: 'AbortError' });
      await threads.gone();
      expect(notes.finallies).toBe(name === 'stuck' ? 0 : 1);
    });

    it('terminates a worker that does not stop within the grace, and says so', async () => {
      const notes = new Notes();
      const iterator = act('blocked', { notes }, { grace: 50 })[Symbol.asyncIterator]();
      await iterator.next();
      await until(() => notes.seen === 1);

      const left = iterator.return?.();

      await expect(left).rejects.toMatchObject({ code: 'worker-failed' });
      await expect(left).rejects.toThrow(/did not stop within 50 ms.*Read `signal\.aborted` in loops/);
      expect(threads.alive).toBe(0);
    });

    it('rejects with an error of a finally block', async () => {
      const notes = new Notes();
      const iterator = act('untidy', { notes })[Symbol.asyncIterator]();
      await iterator.next();

      await expect(iterator.return?.()).rejects.toThrow('could not clean up');
      expect(notes.finallies).toBe(1);
    });

    it('warns of an error of a finally block that nobody waits for', async () => {
      const warnings: string[] = [];
      const note = (warning: Error) => warnings.push(warning.message);
      realProcess.on('warning', note);
      const controller = new AbortController();
      const iterator = act('untidy', {}, { signal: controller.signal })[Symbol.asyncIterator]();
      await iterator.next();

      controller.abort();
      await until(() => warnings.length > 0);
      realProcess.off('warning', note);

      expect(warnings).toEqual(['A worker failed after its stream had ended: could not clean up']);
    });

    it('starts no thread before the first chunk is read', async () => {
      const { signal } = new AbortController();

      act('endless', {}, { signal });
      const unread = act('endless')[Symbol.asyncIterator]();
      await unread.return?.();
      const reason = new Error('enough');
      const aborted = read(act('endless', {}, { signal: AbortSignal.abort(reason) }));

      await expect(aborted).rejects.toBe(reason);
      await expect(unread.next()).resolves.toEqual({ done: true, value: undefined });
      expect(threads.started).toBe(0);
    });

    it.each([1, 100_000])('while its file loads, terminates the thread at once (grace: %d)', async (grace) => {
      const notes = new Notes();
      const iterator = fromWorker(fileOf('loading.mjs'), { data: { notes: notes.words }, grace })[
        Symbol.asyncIterator
      ]();
      const next = iterator.next();
      await until(() => notes.seen === 1);

      const left = iterator.return?.();

      await expect(left).resolves.toEqual({ done: true, value: undefined });
      await expect(next).resolves.toEqual({ done: true, value: undefined });
      expect(notes.produced).toBe(0);
    });

    it('runs nothing of a producer that starts after that', async () => {
      let opened = 0;
      let start = (): void => undefined;
      const started = new Promise<void>((resolve) => {
        start = resolve;
      });
      const run = produce(() => {
        opened++;
        return [1];
      });
      // A pool that does not look at its signal.
      const pool = { run: (task: unknown) => started.then(() => run(task)) };
      const iterator = fromWorker(fileOf('acts.mjs'), { pool })[Symbol.asyncIterator]();
      const next = iterator.next();

      const left = iterator.return?.();
      start();

      await expect(left).resolves.toEqual({ done: true, value: undefined });
      await expect(next).resolves.toEqual({ done: true, value: undefined });
      expect(opened).toBe(0);
    });

    it('removes its listener from the signal when the worker has ended, also if its chunks are never read', async () => {
      const { signal } = new AbortController();
      const iterator = act('chunks', { chunks: [1, 2] }, { signal })[Symbol.asyncIterator]();

      await iterator.next();

      await until(() => getEventListeners(signal, 'abort').length === 0);
    });
  });

  describe('when the worker fails', () => {
    it.each([
      ['exits', { code: 3 }, {}, /exited with code 3/],
      ['uncaught', {}, {}, /failed: (Error: )?in a timer/],
      ['unhandled', {}, {}, /failed: (Error: )?nobody handles it/],
      ['memory', {}, { worker: { resourceLimits: { maxOldGenerationSizeMb: 16 } } }, /resourceLimits/],
    ])('throws an error that says how (%s)', async (name, data, options, message) => {
      const { error } = await readUntilError(act(name, data, options));

      expect(error).toBeInstanceOf(StreamError);
      expect(error).toMatchObject({ code: 'worker-failed' });
      expect((error as Error).message).toMatch(message);
      expect(threads.alive).toBe(0);
    });

    it.each([
      ['idle.mjs', { code: 'worker-failed' }, /did not call produce\(\)/],
      ['broken.mjs', { code: 'worker-failed' }, /missing\.mjs/],
      ['double.mjs', { code: 'worker-failed' }, /produce\(\) was called twice/],
    ])('throws an error if its file is wrong (%s)', async (name, like, message) => {
      const { error } = await readUntilError(fromWorker(fileOf(name)));

      expect(error).toMatchObject(like);
      expect((error as Error).message).toMatch(message);
    });

    it('throws an error if the function returns no iterable', async () => {
      await expect(read(act('nothing'))).rejects.toMatchObject({ code: 'invalid-source' });
    });

    it.each([[undefined], ['text'], [{ plain: 1 }]])('throws what the producer has thrown: %j', async (thrown) => {
      expect((await readUntilError(act('throws', { chunks: [thrown] }))).error).toEqual(thrown);
    });

    it.each(['toString', 'constructor', '__proto__', 'QuotaError'])(
      'throws an error with any name: %s',
      async (name) => {
        const { error } = await readUntilError(act('named', { chunks: [name] }));

        expect(error).toBeInstanceOf(Error);
        expect(error).toMatchObject({ name, message: 'it failed' });
      },
    );

    it('gives an HTTP exception its status', async () => {
      await expect(read(act('refuses'))).rejects.toMatchObject({ message: 'No such report', statusCode: 404 });
    });

    it('terminates a thread that something keeps alive after the end', async () => {
      expect(await read(act('lingers', {}, { grace: 50 }))).toEqual(['first']);
      await threads.gone();
    });

    it('does not say of such a thread that its producer did not stop', async () => {
      const iterator = act('lingers', {}, { grace: 50 })[Symbol.asyncIterator]();
      await iterator.next();
      await iterator.next();

      await expect(iterator.return?.()).resolves.toEqual({ done: true, value: undefined });
    });
  });

  it('runs a CommonJS file, by its path', async () => {
    expect(await read(fromWorker(fileOf('common.cjs').pathname, { data: 1 }))).toEqual(['CommonJS 1']);
  });

  it('moves what transferList names to the worker', async () => {
    const bytes = new Uint8Array(10).fill(5);
    const chunks = fromWorker(fileOf('acts.mjs'), {
      data: { act: 'chunks', chunks: [bytes] },
      transferList: [bytes.buffer as ArrayBuffer],
    });

    expect(await read(chunks)).toEqual([new Uint8Array(10).fill(5)]);
    expect(bytes.byteLength).toBe(0);
  });

  it.each([
    ['a thread of its own', undefined],
    ['a pool', new OneThread()],
  ])('fails if data with transferList cannot be cloned (%s)', async (_, pool) => {
    const bytes = new Uint8Array(10);
    const chunks = fromWorker(fileOf('acts.mjs'), {
      data: { bytes, run: () => undefined },
      transferList: [bytes.buffer as ArrayBuffer],
      ...(pool && { pool }),
    });

    const { error } = await readUntilError(chunks);
    await pool?.close();

    expect(error).toBeInstanceOf(StreamError);
    expect(error).toMatchObject({ code: 'not-serializable' });
    expect((error as Error).message).toMatch(/`data` cannot be cloned for the worker: [\s\S]*Pass plain data/);
  });

  it('can be read only once', async () => {
    const chunks = act('chunks', { chunks: [1] });

    expect(await read(chunks)).toEqual([1]);
    await expect(read(chunks)).rejects.toMatchObject({ code: 'invalid-source' });
  });

  it('answers calls of next() that do not wait for each other, in their order', async () => {
    const iterator = act('chunks', { chunks: [1, 2] })[Symbol.asyncIterator]();

    const steps = await Promise.all([iterator.next(), iterator.next(), iterator.next(), iterator.next()]);

    expect(steps.map(({ value }) => value)).toEqual([1, 2, undefined, undefined]);
  });

  describe('refuses', () => {
    it.each([
      ['a relative path', './tokens.js', /not an absolute path.*import\.meta\.url/],
      ['a file that does not exist', fileOf('missing.mjs'), /missing\.mjs does not exist/],
      [
        'a file whose source exists',
        new URL('./support.js', import.meta.url),
        /support\.ts exists: a worker runs JavaScript/,
      ],
      ['another URL', new URL('https://example.com/tokens.js'), /not https:/],
      ['no file', 42, /is number/],
    ])('%s', (_, file, message) => {
      expect(() => fromWorker(file as URL)).toThrow(StreamError);
      expect(() => fromWorker(file as URL)).toThrow(message);
    });

    it.each([
      [{ ring: 1_000 }, /"ring" must be a power of two from 4096/],
      [{ ring: 2_048 }, /"ring" must be a power of two from 4096/],
      [{ grace: 0 }, /"grace" must be/],
      [{ queue: { items: 0 } }, /"queue\.items" must be/],
      [{ pool: {} }, /"pool" must be a pool with a method run\(\)/],
      [{ signal: {} }, /"signal" must be an AbortSignal/],
      [{ pool: new OneThread(), worker: {} }, /"worker" does not apply to a pool/],
      [{ worker: { workerData: 1 } }, /"workerData"/],
      [{ dta: 1 }, /Did you mean "data"/],
    ])('the options %j', (options, message) => {
      expect(() => fromWorker(fileOf('count.mjs'), options as object)).toThrow(message);
    });

    it.each([
      [{ run: () => undefined }, /`data` cannot be cloned for the worker: [\s\S]*Pass plain data/],
      [{ signal: AbortSignal.abort() }, /`data` contains an AbortSignal.*Pass it as `signal`/],
    ])('data that cannot be cloned: %p', (data, message) => {
      expect(() => fromWorker(fileOf('count.mjs'), { data })).toThrow(message);
    });

    it('a producer that is not a function', () => {
      expect(() => produce(42 as never)).toThrow(/produce\(\) takes a generator function, not number/);
    });
  });

  it('with a pool, runs 1 000 producers in one thread, and leaves nothing open', async () => {
    const pool = new OneThread();
    const data = { act: 'chunks', chunks: ['one', 'two'] };
    const runs = 1_000;
    const openPorts = () => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length;
    const before = openPorts();
    let chunks = 0;
    for (let n = 0; n < runs; n++) {
      chunks += (await read(fromWorker(fileOf('acts.mjs'), { data, pool }))).length;
    }
    // The thread itself has one. Those of the last runs are closed in a later turn.
    await until(() => openPorts() - before <= 1);
    await pool.close();

    expect(chunks).toBe(2 * runs);
    expect(threads.started).toBe(1);
  });

  it('with a pool, stops a producer that waits for a thread without a start', async () => {
    const pool = new OneThread();
    const [first, second] = [new Notes(), new Notes()];
    const running = act('endless', { notes: first }, { pool })[Symbol.asyncIterator]();
    await running.next();
    const waiting = act('endless', { notes: second }, { pool })[Symbol.asyncIterator]();
    const next = waiting.next();

    const left = waiting.return?.();
    await expect(next).resolves.toEqual({ done: true, value: undefined });
    await running.return?.();
    await left;
    await pool.close();

    expect([first.finallies, second.produced]).toEqual([1, 0]);
    expect(threads.started).toBe(1);
  });

  it('with a pool, terminates the thread of a producer that does not stop', async () => {
    const pool = new OneThread();
    await leaveBlocked(pool);
    await pool.close();

    expect(threads.started).toBe(2);
  });

  it('with a pool, fails if the file does not export the result of produce()', async () => {
    const pool = new OneThread();

    await expect(read(fromWorker(fileOf('idle.mjs'), { pool }))).rejects.toThrow(
      /does not export the result of produce\(\)/,
    );
    await pool.close();
  });
});
