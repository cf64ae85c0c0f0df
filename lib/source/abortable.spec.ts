import { getEventListeners } from 'node:events';
import { realProcess } from '../../test/support/real-process.js';
import { abortable } from './abortable.js';

const NEVER = new Promise<never>(() => undefined);
const reason = new Error('enough');

/** An async iterable that tells what is asked of it, and answers with the given steps, then never. */
function told(...steps: (() => Promise<IteratorResult<number>>)[]) {
  const seen: string[] = [];
  const iterable: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => {
      seen.push('opened');
      return {
        next: () => {
          seen.push('next');
          return steps.shift()?.() ?? NEVER;
        },
        return: async () => {
          seen.push('return');
          return { done: true, value: undefined };
        },
      };
    },
  };
  return { iterable, seen };
}

const value = (n: number) => async () => ({ done: false, value: n });
const end = async () => ({ done: true, value: undefined }) as const;

describe('abortable(promise)', () => {
  it('settles as the promise does, if nothing is aborted', async () => {
    const { signal } = new AbortController();

    await expect(abortable(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(abortable(Promise.reject(reason), signal)).rejects.toBe(reason);
  });

  it('rejects with the reason as soon as the signal is aborted', async () => {
    const controller = new AbortController();
    const wait = abortable(NEVER, controller.signal);

    controller.abort(reason);

    await expect(wait).rejects.toBe(reason);
  });

  it('rejects at once if the signal is aborted already', async () => {
    await expect(abortable(NEVER, AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(abortable(Promise.resolve(1), AbortSignal.abort(reason))).resolves.toBe(1);
  });

  it('leaves no listener on the signal when it is settled', async () => {
    const { signal } = new AbortController();

    const wait = abortable(Promise.resolve(1), signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await wait;

    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('handles the rejection of a promise that is no longer awaited', async () => {
    const controller = new AbortController();
    let reject: (error: unknown) => void = () => undefined;
    const wait = abortable(
      new Promise((_, no) => {
        reject = no;
      }),
      controller.signal,
    );
    controller.abort(reason);
    await expect(wait).rejects.toBe(reason);

    reject(new Error('too late'));
    await new Promise((resolve) => setImmediate(resolve));
    // Jest fails a test in which a rejection is unhandled.
  });
});

describe('abortable(iterable)', () => {
  it('yields the values of the iterable, and ends with it', async () => {
    const { iterable, seen } = told(value(1), value(2), end);
    const { signal } = new AbortController();
    const got: number[] = [];

    for await (const n of abortable(iterable, signal)) {
      got.push(n);
    }

    expect(got).toEqual([1, 2]);
    expect(seen).toEqual(['opened', 'next', 'next', 'next']);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('throws the error of the iterable, and does not call the iterable again', async () => {
    const { iterable, seen } = told(value(1), () => Promise.reject(reason));
    const iterator = abortable(iterable, new AbortController().signal);
    await iterator.next();

    await expect(iterator.next()).rejects.toBe(reason);
    expect(seen).toEqual(['opened', 'next', 'next']);
  });

  it('throws the reason as soon as the signal is aborted, and calls return() of the iterable', async () => {
    const { iterable, seen } = told(value(1));
    const controller = new AbortController();
    const iterator = abortable(iterable, controller.signal);
    await iterator.next();
    const wait = iterator.next();

    controller.abort(reason);

    await expect(wait).rejects.toBe(reason);
    expect(seen).toEqual(['opened', 'next', 'next', 'return']);
  });

  it('does not wait for a generator that is stuck in an await', async () => {
    const controller = new AbortController();
    const stuck = (async function* () {
      yield 1;
      await NEVER;
    })();
    const iterator = abortable(stuck, controller.signal);
    await iterator.next();
    const wait = iterator.next();

    controller.abort(reason);

    await expect(wait).rejects.toBe(reason);
  });

  it('does not open the iterable if the signal is aborted already', async () => {
    const { iterable, seen } = told(value(1));

    await expect(abortable(iterable, AbortSignal.abort(reason)).next()).rejects.toBe(reason);
    expect(seen).toEqual([]);
  });

  it('calls return() of the iterable when its consumer stops', async () => {
    const { iterable, seen } = told(value(1), value(2));

    for await (const _ of abortable(iterable, new AbortController().signal)) {
      break;
    }

    expect(seen).toEqual(['opened', 'next', 'return']);
  });

  it('calls return() when it is aborted between two steps, even if return() rejects', async () => {
    const { iterable, seen } = told(value(1), () => Promise.reject(new Error('a consequence')));
    const controller = new AbortController();
    const iterator = abortable(iterable, controller.signal);
    await iterator.next();

    controller.abort(reason);

    await expect(iterator.next()).rejects.toThrow();
    expect(seen).toEqual(['opened', 'next', 'next', 'return']);
  });

  it.each([
    ['', (error: Error) => Promise.reject(error)],
    [
      ', a sync one too',
      (error: Error) => {
        throw error;
      },
    ],
  ])('reports a failing clean-up as a warning of the process%s', async (_, fail) => {
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    realProcess.on('warning', note);
    const controller = new AbortController();
    const failure = new Error('could not clean up');
    const iterable: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({ next: () => NEVER, return: () => fail(failure) }),
    };
    const wait = abortable(iterable, controller.signal).next();

    controller.abort(reason);
    await expect(wait).rejects.toBe(reason);
    await new Promise((resolve) => setImmediate(resolve));
    realProcess.off('warning', note);

    expect(warnings).toEqual(['What abortable() left could not clean up: could not clean up']);
  });
});
