import { jest } from '@jest/globals';
import { atEndOfTurn, currentTurn, inLaterTurn } from './scheduler.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('The scheduler', () => {
  it('flushes at the end of the turn, after all microtasks and ticks', async () => {
    const seen: string[] = [];

    atEndOfTurn(() => seen.push('flush'));
    await Promise.resolve();
    process.nextTick(() => seen.push('tick'));
    await Promise.resolve();
    seen.push('microtask');
    await turn();

    expect(seen).toEqual(['microtask', 'tick', 'flush']);
  });

  it('flushes in order, and runs a flush that another one adds in a later turn', async () => {
    const seen: string[] = [];
    const turns: number[] = [];
    const note = (what: string) => {
      seen.push(what);
      turns.push(currentTurn());
    };
    atEndOfTurn(() => {
      note('first');
      atEndOfTurn(() => note('third'));
    });
    atEndOfTurn(() => note('second'));

    await turn();
    await turn();

    expect(seen).toEqual(['first', 'second', 'third']);
    expect(turns[1]).toBe(turns[0]);
    expect(turns[2]).toBeGreaterThan(turns[1] ?? Infinity);
  });

  it('flushes before it resumes', async () => {
    const seen: string[] = [];
    inLaterTurn(() => seen.push('resume'));
    atEndOfTurn(() => seen.push('flush'));

    await turn();

    expect(seen).toEqual(['flush', 'resume']);
  });

  it('lets timers and I/O run, even if a task always asks to be resumed', async () => {
    let over = false;
    let resumed = 0;
    const again = () => {
      resumed++;
      if (!over) {
        inLaterTurn(again);
      }
    };
    again();

    await new Promise((resolve) => setTimeout(resolve, 1));
    over = true;
    await turn();

    expect(resumed).toBeGreaterThan(1);
  });

  it('resumes first the tasks that have waited longest', async () => {
    const seen: string[] = [];
    const busy = () => {
      const end = performance.now() + 10;
      while (performance.now() < end) {
        // Uses the time of the turn up.
      }
    };
    inLaterTurn(() => {
      seen.push('a');
      busy();
      inLaterTurn(() => seen.push('a again'));
    });
    inLaterTurn(() => seen.push('b'));
    await turn();
    expect(seen).toEqual(['a']);

    await turn();

    expect(seen).toEqual(['a', 'b', 'a again']);
  });

  it.each([
    ['flushes', atEndOfTurn],
    ['resumes', inLaterTurn],
  ])('goes on after a callback that throws, and %s none of them twice', (_, add) => {
    const scheduled = jest.spyOn(globalThis, 'setImmediate').mockReturnValue({} as NodeJS.Immediate);
    const runTurn = () => scheduled.mock.calls.shift()?.[0]();
    try {
      const seen: string[] = [];
      add(() => seen.push('first'));
      add(() => {
        throw new Error('second');
      });
      add(() => seen.push('third'));
      inLaterTurn(() => seen.push('last'));

      expect(runTurn).toThrow('second');
      expect(seen).toEqual(['first']);
      runTurn();

      expect(seen).toEqual(['first', 'third', 'last']);
      expect(scheduled.mock.calls).toEqual([]);
    } finally {
      scheduled.mockRestore();
    }
  });
});
