import { Readable } from 'node:stream';
import { of } from 'rxjs';
import { fromText, type TextToken } from './index.js';

async function chunksOf(source: Parameters<typeof fromText>[0], options?: Parameters<typeof fromText>[1]) {
  const chunks: unknown[] = [];
  let error: unknown;
  try {
    for await (const chunk of fromText(source, options)) {
      chunks.push(chunk);
    }
  } catch (thrown) {
    error = thrown;
  }
  return { chunks, error };
}

const HELLO = [
  { type: 'start' },
  { type: 'text-start', id: 'text-1' },
  { type: 'text-delta', id: 'text-1', delta: 'Hel' },
  { type: 'text-delta', id: 'text-1', delta: 'lo' },
  { type: 'text-end', id: 'text-1' },
  { type: 'finish' },
];

describe('fromText()', () => {
  it.each<[string, () => Parameters<typeof fromText>[0]]>([
    ['an array', () => ['Hel', 'lo']],
    [
      'a generator',
      () =>
        (function* () {
          yield* ['Hel', 'lo'];
        })(),
    ],
    [
      'an async generator',
      () =>
        (async function* () {
          yield* ['Hel', 'lo'];
        })(),
    ],
    ['a web stream', () => ReadableStream.from(['Hel', 'lo']) as ReadableStream<string>],
    ['a Readable', () => Readable.from(['Hel', 'lo'])],
  ])('returns the chunks of a message for the tokens of %s', async (_what, source) => {
    expect(await chunksOf(source())).toEqual({ chunks: HELLO, error: undefined });
  });

  it('takes a string as one token', async () => {
    const { chunks } = await chunksOf('Hello');

    expect(chunks).toContainEqual({ type: 'text-delta', id: 'text-1', delta: 'Hello' });
  });

  it('makes a part of its own for reasoning, and leaves out empty strings', async () => {
    const { chunks } = await chunksOf([
      '',
      { reasoning: '' },
      { reasoning: 'Hm' },
      '',
      { reasoning: '.' },
      'A',
      { reasoning: 'B' },
    ]);

    expect(chunks).toEqual([
      { type: 'start' },
      { type: 'reasoning-start', id: 'reasoning-1' },
      { type: 'reasoning-delta', id: 'reasoning-1', delta: 'Hm' },
      { type: 'reasoning-delta', id: 'reasoning-1', delta: '.' },
      { type: 'reasoning-end', id: 'reasoning-1' },
      { type: 'text-start', id: 'text-2' },
      { type: 'text-delta', id: 'text-2', delta: 'A' },
      { type: 'text-end', id: 'text-2' },
      { type: 'reasoning-start', id: 'reasoning-3' },
      { type: 'reasoning-delta', id: 'reasoning-3', delta: 'B' },
      { type: 'reasoning-end', id: 'reasoning-3' },
      { type: 'finish' },
    ]);
  });

  it('has no part for a source without text, and its message has the id of the option', async () => {
    const { chunks } = await chunksOf([''], { messageId: 'm1' });

    expect(chunks).toEqual([{ type: 'start', messageId: 'm1' }, { type: 'finish' }]);
  });

  it('ends the open part before it throws the error of its source', async () => {
    const failure = new Error('model gone');
    const { chunks, error } = await chunksOf(
      (async function* () {
        yield 'A';
        throw failure;
      })(),
    );

    expect(chunks.at(-1)).toEqual({ type: 'text-end', id: 'text-1' });
    expect(error).toBe(failure);
  });

  it('has no chunk if its source fails before the first token', async () => {
    const failure = new Error('no model');
    const { chunks, error } = await chunksOf({
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failure) }),
    });

    expect({ chunks, error }).toEqual({ chunks: [], error: failure });
  });

  it('stops its source at once, also while it waits for a token', async () => {
    let cancelled: (reason: unknown) => void = () => undefined;
    const cancel = new Promise((resolve) => {
      cancelled = resolve;
    });
    const iterator = fromText(new ReadableStream<string>({ cancel: cancelled }))[Symbol.asyncIterator]();
    const waiting = iterator.next();

    await iterator.return?.();
    await cancel;

    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('stops its source after a token that is no text, and says what it expects', async () => {
    let stopped = false;
    const { chunks, error } = await chunksOf(
      (function* () {
        try {
          yield 'A';
          yield 7 as unknown as TextToken;
        } finally {
          stopped = true;
        }
      })(),
    );

    expect(chunks.at(-1)).toEqual({ type: 'text-end', id: 'text-1' });
    expect(error).toMatchObject({ code: 'invalid-source' });
    expect(String(error)).toContain('fromText() received number: its source has to yield strings');
    expect(stopped).toBe(true);
  });

  it.each([
    ['an Observable', of('A')],
    ['a Response', new Response('A')],
    ['a number', 7],
  ])('refuses %s', (_what, source) => {
    expect(() => fromText(source as unknown as string)).toThrow(expect.objectContaining({ code: 'invalid-source' }));
  });

  it.each([[{ messageId: 7 }], [{ id: 'm1' }]])('refuses the options %j', (options) => {
    expect(() => fromText('A', options as object)).toThrow(expect.objectContaining({ code: 'invalid-option' }));
  });
});
