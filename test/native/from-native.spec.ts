import { setImmediate as turn } from 'node:timers/promises';
import { fromNative } from '../../lib/worker/index.js';
import type { NativeHandle } from '../../lib/worker/native-handle.js';
import { NODE_GYP_TOOLS, nodeGypTools } from '../support/node-gyp.js';
import { describeWith } from '../support/tools.js';
import { eventually } from '../support/transports.js';
import { BUILD_MS, figuresOf, loadProducers, type Producers } from './producers.js';

const [TAKEN, FULL, GONE] = [1, 0, -1];

async function collect<T>(chunks: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const chunk of chunks) {
    list.push(chunk);
  }
  return list;
}

/** The chunks of a thread, in their order. */
function ofThread(chunks: readonly string[], thread: number): number[] {
  return chunks.filter((chunk) => chunk.startsWith(`${thread}:`)).map((chunk) => Number(chunk.split(':')[1]));
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describeWith(NODE_GYP_TOOLS, nodeGypTools())('fromNative()', () => {
  let addon: Producers;

  beforeAll(async () => {
    addon = await loadProducers();
  }, BUILD_MS);

  /** Opens a stream, sends chunks, and ends it. */
  function closed(...chunks: (string | Buffer)[]): object {
    const { handle, stream } = addon.open();
    for (const chunk of chunks) {
      expect(addon.send(stream, Buffer.from(chunk as string))).toBe(TAKEN);
    }
    addon.close(stream);
    return handle;
  }

  it('yields each chunk of the addon as one byte array, an empty one too', async () => {
    const chunks = await collect(fromNative(closed('a', '', 'bc', Buffer.from([255, 0]))));

    expect(chunks.every((chunk) => chunk instanceof Uint8Array)).toBe(true);
    expect(chunks.map((chunk) => [...chunk])).toEqual([[97], [], [98, 99], [255, 0]]);
  });

  it('yields strings if the encoding is utf8', async () => {
    expect(await collect(fromNative(closed('a', '', 'bc'), { encoding: 'utf8' }))).toEqual(['a', '', 'bc']);
    expect(await collect(fromNative(closed('größe', '✓', '👋🏽!', 'x'), { encoding: 'utf8' }))).toEqual([
      'größe',
      '✓',
      '👋🏽!',
      'x',
    ]);
  });

  it('yields a character with the chunk that completes it', async () => {
    const [wave, rest] = [Buffer.from('👋').subarray(0, 1), Buffer.from('👋').subarray(1)];

    expect(await collect(fromNative(closed('a', wave, rest, 'b'), { encoding: 'utf8' }))).toEqual(['a', '👋', 'b']);
    expect(
      await collect(
        fromNative(closed(Buffer.from('x✓').subarray(0, 2), Buffer.from('✓y').subarray(1)), { encoding: 'utf8' }),
      ),
    ).toEqual(['x', '✓y']);
  });

  it('replaces bytes that are no UTF-8, and a character that is never completed', async () => {
    expect(
      await collect(
        fromNative(closed('a', Buffer.from([0xff]), Buffer.from([0xed, 0xa0, 0x80]), 'ü', Buffer.from([0xc3])), {
          encoding: 'utf8',
        }),
      ),
    ).toEqual(['a', '\ufffd', '\ufffd\ufffd\ufffd', 'ü', '\ufffd']);
  });

  it('yields a chunk that comes while it is awaited', async () => {
    const { handle, stream } = addon.open();
    const iterator = fromNative(handle, { encoding: 'utf8' })[Symbol.asyncIterator]();
    for (const chunk of ['first', 'second', 'third']) {
      const step = iterator.next();
      await turn();
      addon.send(stream, Buffer.from(chunk));

      expect(await step).toEqual({ done: false, value: chunk });
    }
    const end = iterator.next();
    await turn();
    addon.close(stream);

    expect(await end).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('answers calls of next() that do not wait for each other in their order', async () => {
    const { handle, stream } = addon.open();
    const iterator = fromNative(handle, { encoding: 'utf8' })[Symbol.asyncIterator]();
    const steps = [iterator.next(), iterator.next(), iterator.next()];
    await turn();
    addon.send(stream, Buffer.from('a'));
    addon.send(stream, Buffer.from('b'));
    addon.close(stream);

    expect(await Promise.all(steps)).toEqual([
      { done: false, value: 'a' },
      { done: false, value: 'b' },
      { done: true, value: undefined },
    ]);
  });

  it('throws the error of the addon after the chunks before it, and has ended then', async () => {
    const { handle, stream } = addon.open();
    const iterator = fromNative(handle, { encoding: 'utf8' })[Symbol.asyncIterator]();
    addon.send(stream, Buffer.from('a'));
    addon.close(stream, 'the model has größe 0');

    expect(await iterator.next()).toEqual({ done: false, value: 'a' });
    await expect(iterator.next()).rejects.toThrow('the model has größe 0');
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('throws the error of the addon while it waits', async () => {
    const { handle, stream } = addon.open();
    const step = fromNative(handle)[Symbol.asyncIterator]().next();
    await turn();
    addon.close(stream, 'out of memory');

    await expect(step).rejects.toThrow('out of memory');
  });

  it('leaves chunks in the ring until they are asked for: a full ring takes no more, and loses nothing', async () => {
    const { handle, stream } = addon.open(1024);
    const chunk = (index: number): Buffer => Buffer.from(String(index).padEnd(100, '.'));
    let sent = 0;
    while (addon.send(stream, chunk(sent)) === TAKEN) {
      sent++;
    }

    // A chunk of 100 bytes needs 104.
    expect(sent).toBe(9);
    expect(addon.waitRoom(stream, 1)).toBe(0);
    const iterator = fromNative(handle, { encoding: 'utf8' })[Symbol.asyncIterator]();
    for (let index = 0; index < 50; index++) {
      expect((await iterator.next()).value).toBe(String(index).padEnd(100, '.'));
      while (addon.send(stream, chunk(sent)) === TAKEN) {
        sent++;
      }
      // What was taken out of the ring at once, and what is in the ring.
      expect(sent - index).toBeLessThanOrEqual(18);
    }
    await iterator.return?.();
    addon.close(stream);
  });

  it('takes a chunk that is larger than the ring when the ring is empty', async () => {
    const { handle, stream } = addon.open(1024);
    const iterator = fromNative(handle)[Symbol.asyncIterator]();
    const large = Buffer.alloc(100_000, 'large');

    expect(addon.send(stream, Buffer.from('small'))).toBe(TAKEN);
    expect(addon.send(stream, large)).toBe(FULL);
    expect(addon.waitRoom(stream, 1)).toBe(0);
    expect(Buffer.from((await iterator.next()).value as Uint8Array).toString()).toBe('small');
    expect(addon.waitRoom(stream, 1)).toBe(1);
    expect(addon.send(stream, large)).toBe(TAKEN);
    expect(addon.send(stream, Buffer.from('small'))).toBe(TAKEN);
    addon.close(stream);
    expect(large.equals((await iterator.next()).value as Uint8Array)).toBe(true);
    expect((await iterator.next()).value).toHaveLength(5);
    expect((await iterator.next()).done).toBe(true);
  });

  it.each([0, 1, 2, 3, 1019, 1020, 1021, 1024])('takes a chunk of %d bytes with a ring of 1024', async (size) => {
    const { handle, stream } = addon.open(1000);
    const iterator = fromNative(handle)[Symbol.asyncIterator]();
    for (let round = 0; round < 5; round++) {
      const chunk = Buffer.alloc(size, round + 1);
      expect(addon.send(stream, chunk)).toBe(TAKEN);
      expect(chunk.equals((await iterator.next()).value as Uint8Array)).toBe(true);
    }
    addon.close(stream);
  });

  it('copies a chunk that is larger than the ring while the stream is not locked', async () => {
    const { handle, stream } = addon.open(1024);
    const large = Buffer.alloc(1025, 'x');

    // It throws an error otherwise.
    expect(addon.send(stream, large)).toBe(TAKEN);
    addon.close(stream);
    expect(await collect(fromNative(handle, { encoding: 'utf8' }))).toEqual([large.toString()]);
  });

  it.each([
    ['a chunk that is larger than the ring', 2_000],
    ['a chunk that is larger than half of the ring', 900],
  ])('takes no small chunk while there is no room for %s, so that it gets its turn', async (_, size) => {
    const { handle, stream } = addon.open(1024);
    const [small, large] = [Buffer.alloc(300, 's'), Buffer.alloc(size, 'l')];

    expect(addon.send(stream, small)).toBe(TAKEN);
    expect(addon.send(stream, large)).toBe(FULL);
    expect(addon.send(stream, small)).toBe(FULL);
    expect(addon.waitRoom(stream, 1)).toBe(0);
    const iterator = fromNative(handle)[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toHaveLength(300);
    expect(addon.waitRoom(stream, -1)).toBe(1);
    expect(addon.send(stream, large)).toBe(TAKEN);
    expect((await iterator.next()).value).toHaveLength(size);
    // Nor does a chunk that is not sent again keep out others.
    expect([addon.send(stream, small), addon.send(stream, large)]).toEqual([TAKEN, FULL]);
    expect((await iterator.next()).value).toHaveLength(300);
    expect([addon.send(stream, small), addon.send(stream, small)]).toEqual([TAKEN, TAKEN]);
    await iterator.return?.();
    addon.close(stream);
  });

  it('fails for a chunk that is longer than any may be', async () => {
    const { handle, stream } = addon.open();
    const step = fromNative(handle)[Symbol.asyncIterator]().next();
    await turn();

    expect(addon.sendTooMuch(stream)).toBe(GONE);
    await expect(step).rejects.toThrow('ns_send_chunk() takes at most 2147483647 bytes');
    expect(addon.isCancelled(stream)).toBe(1);
    addon.close(stream);
  });

  it('fails for a chunk for which there is no memory', async () => {
    const { handle, stream } = addon.open();
    const step = fromNative(handle)[Symbol.asyncIterator]().next();
    await turn();

    expect(addon.send(stream, Buffer.alloc(128 * 2 ** 20))).toBe(GONE);
    await expect(step).rejects.toThrow('There is no memory for a chunk that is larger than the ring');
    expect(addon.waitRoom(stream, -1)).toBe(GONE);
    addon.close(stream);
  });

  it('yields the chunks of several threads whole, and those of each in their order', async () => {
    const before = figuresOf(addon);
    const { handle, stream } = addon.open(4096);
    addon.flood(stream, 3, 5_000, 40);

    const chunks = await collect(fromNative(handle, { encoding: 'utf8' }));

    expect(chunks).toHaveLength(15_000);
    expect(chunks.every((chunk) => /^\d:\d+:x+$/.test(chunk) && chunk.length === 40)).toBe(true);
    for (const thread of [0, 1, 2]) {
      expect(ofThread(chunks, thread)).toEqual(upTo(5_000));
    }
    await eventually(() => figuresOf(addon).running === 0);
    expect(figuresOf(addon).taken - before.taken).toBe(15_000);
  });

  it('reads 50 streams of 100 threads at once without a loss', async () => {
    const before = figuresOf(addon);
    const streams = upTo(50).map((index) => {
      // Rings of several sizes: most threads have to wait for room.
      const { handle, stream } = addon.open(1024 << (index % 4));
      addon.flood(stream, 2, 500, 40 + index);
      return collect(fromNative(handle, { encoding: 'utf8' }));
    });

    for (const [index, chunks] of (await Promise.all(streams)).entries()) {
      expect(chunks).toHaveLength(1_000);
      for (const thread of [0, 1]) {
        const expected = upTo(500).map((number) => `${thread}:${number}:`.padEnd(40 + index, 'x'));
        expect(chunks.filter((chunk) => chunk.startsWith(`${thread}:`))).toEqual(expected);
      }
    }
    await eventually(() => figuresOf(addon).running === 0);
    expect(figuresOf(addon).taken - before.taken).toBe(50_000);
  });

  it('wakes a stream once for what comes after a reader that has cancelled goes on', async () => {
    const { handle, stream } = addon.open();
    const raw = handle as NativeHandle;
    const ends = new Uint32Array(8);
    let ready = 0;
    raw.onReady = () => void ready++;
    expect(raw.take(ends, true)).toBeNull();
    addon.send(stream, Buffer.from('a'));
    raw.cancel();
    expect([raw.take(ends, true), raw.take(ends, true)]).toEqual(['a', null]);
    addon.close(stream);
    await eventually(() => ready > 0);

    expect(raw.take(ends, true)).toBeUndefined();
    expect(ready).toBe(1);
  });

  it('lets a thread sleep while the ring is full', async () => {
    const before = figuresOf(addon);
    const { handle, stream } = addon.open(1024);
    const chunks = fromNative(handle, { encoding: 'utf8' });
    addon.flood(stream, 1, 1_000, 28);
    await eventually(() => figuresOf(addon).waiting === 1);

    // 1 024 bytes are room for 32 chunks, and the thread is not woken for less than half of it.
    expect(figuresOf(addon)).toMatchObject({ taken: before.taken + 32, full: before.full + 1 });
    expect(await collect(chunks)).toHaveLength(1_000);
    expect(figuresOf(addon).full - before.full).toBeLessThanOrEqual(1_000 / 16);
  });

  it.each([
    ['return() is called', async (iterator: AsyncIterator<unknown>) => void (await iterator.return?.())],
    [
      'throw() is called',
      async (iterator: AsyncIterator<unknown>) =>
        expect(iterator.throw?.(new Error('enough'))).rejects.toThrow('enough'),
    ],
  ])('cancels the stream when %s, also while a thread waits for room', async (_, leave) => {
    const before = figuresOf(addon);
    const { handle, stream } = addon.open(1024);
    const iterator = fromNative(handle)[Symbol.asyncIterator]();
    addon.flood(stream, 2, 1_000, 28);
    await iterator.next();
    await eventually(() => figuresOf(addon).waiting === 2);

    await leave(iterator);

    await eventually(() => figuresOf(addon).running === 0);
    expect(figuresOf(addon).gone - before.gone).toBe(2);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('cancels the stream if its chunks cannot be taken, also while a thread waits for room', async () => {
    const before = figuresOf(addon);
    const { handle, stream } = addon.open(1024);
    const error = new RangeError('There is no memory for a chunk');
    Object.defineProperty(handle, 'take', {
      value: () => {
        throw error;
      },
    });
    addon.flood(stream, 2, 1_000, 28);
    await eventually(() => figuresOf(addon).waiting === 2);

    await expect(fromNative(handle)[Symbol.asyncIterator]().next()).rejects.toBe(error);

    await eventually(() => figuresOf(addon).running === 0);
    expect(figuresOf(addon).gone - before.gone).toBe(2);
  });

  it('returns -1 from all functions immediately after return()', async () => {
    const { handle, stream } = addon.open();
    const iterator = fromNative(handle)[Symbol.asyncIterator]();
    const step = iterator.next();
    await turn();

    expect(addon.isCancelled(stream)).toBe(0);
    void iterator.return?.();
    expect(addon.isCancelled(stream)).toBe(1);
    expect(addon.send(stream, Buffer.from('x'))).toBe(GONE);
    expect(addon.waitRoom(stream, -1)).toBe(GONE);
    expect(await step).toEqual({ done: true, value: undefined });
    addon.close(stream);
  });

  it('refuses what is no handle', () => {
    for (const value of [{}, null, undefined, 'handle', () => undefined]) {
      expect(() => fromNative(value as object)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    }
    expect(() => fromNative(addon.open().stream)).toThrow(/takes the handle that ns_open\(\)/);
  });

  it('refuses a handle that was passed before, and does not disturb its stream', async () => {
    const handle = closed('a');
    const chunks = fromNative(handle, { encoding: 'utf8' });

    expect(() => fromNative(handle)).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('for every client') }),
    );
    expect(await collect(chunks)).toEqual(['a']);
    expect(() => chunks[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'invalid-source' }));
  });

  it('refuses a handle of an addon that was built with another version of the header', () => {
    expect(() => fromNative({ nestjsStreamingAbi: 2 })).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('build it again') }),
    );
  });

  it('refuses options that it does not know', () => {
    const { handle, stream } = addon.open();
    addon.close(stream);

    expect(() => fromNative(handle, { encoding: 'latin1' as 'utf8' })).toThrow(
      expect.objectContaining({ code: 'invalid-option' }),
    );
    expect(() => fromNative(handle, { text: true } as object)).toThrow(
      expect.objectContaining({ code: 'invalid-option' }),
    );
    // The handle can still be read.
    fromNative(handle);
  });

  it('refuses rings that are too large', () => {
    expect(() => addon.open(2 ** 31)).toThrow('ring_bytes is at most 1073741824');
  });

  it('refuses to call the methods of a handle on another object', () => {
    const { handle, stream } = addon.open();
    const { cancel } = handle as { cancel(): void };

    expect(() => cancel.call({})).toThrow('Illegal invocation');
    expect(() => new (handle.constructor as new () => object)()).toThrow('Illegal constructor');
    addon.close(stream);
  });
});
