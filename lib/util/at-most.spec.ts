import { atMost } from './at-most.js';

describe('atMost()', () => {
  it('resolves to true as soon as the promise is settled in time', async () => {
    expect(await atMost(60_000, Promise.resolve('done'))).toBe(true);
  });

  it('resolves to false when the time is over', async () => {
    expect(await atMost(1, new Promise(() => undefined))).toBe(false);
  });

  it('rejects with the reason of the promise', async () => {
    await expect(atMost(60_000, Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  });

  it('ignores a rejection that comes too late', async () => {
    let reject: (error: Error) => void = () => undefined;
    const late = new Promise((_, no) => {
      reject = no;
    });

    expect(await atMost(1, late)).toBe(false);
    reject(new Error('late'));
    await new Promise((resolve) => setImmediate(resolve));
  });
});
