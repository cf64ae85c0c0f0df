import { IterableSource } from './iterable.source.js';

describe('An iterable of promises', () => {
  function counting(promise: Promise<unknown>) {
    const calls = { return: 0 };
    const iterable: Iterable<unknown> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: promise }),
        return: () => {
          calls.return++;
          return { done: true, value: undefined };
        },
      }),
    };
    return { source: new IterableSource(iterable), calls };
  }

  it('is told to return when one of them rejects', async () => {
    const { source, calls } = counting(Promise.reject(new Error('broken')));

    await expect(source.pull()).rejects.toThrow('broken');

    expect(calls.return).toBe(1);
  });

  it('is told to return once when it has been stopped before one of them rejects', async () => {
    const { source, calls } = counting(Promise.reject(new Error('broken')));
    const step = source.pull();

    source.stop();

    await expect(step).rejects.toThrow('broken');
    expect(calls.return).toBe(1);
  });
});
