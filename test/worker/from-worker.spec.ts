import { flush, StreamError } from '../../lib/index.js';
import { fromWorker, produce } from '../../lib/worker/index.js';
import { untilStable } from '../support/running.js';
import { act, fileOf, Notes, OneThread, read, readUntilError, useThreads } from './support.js';

const RING = { ring: 4_096 };

describe('fromWorker()', () => {
  const threads = useThreads();

  describe.each([
    ['by messages', {}],
    ['through a ring', RING],
  ])('%s', (_, options) => {
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

      const stopped = await untilStable(() => notes.produced, 200);
      for (let n = 0; n < 200; n++) {
        await iterator.next();
      }
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
      expect(notes.finallies).toBe(1);
    });

    it('throws an error if the worker exits, after the chunks before it', async () => {
      const { got, error } = await readUntilError(act('exits', { code: 0 }, options));

      expect(got.length).toBeLessThanOrEqual(1);
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
});
