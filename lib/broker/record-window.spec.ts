import { RecordWindow } from './record-window.js';

const { jest } = import.meta;
const FOREVER = Number.POSITIVE_INFINITY;

/** A window of a thousand records at most, with records named after their numbers. */
function filled(count: number, limit = 1_000, ttl = FOREVER): RecordWindow<string> {
  const window = new RecordWindow<string>({ limit, ttl });
  for (let n = 1; n <= count; n++) {
    window.push(`r${n}`, Date.now());
  }
  return window;
}

function range(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `r${from + index}`);
}

describe('A record window', () => {
  it('that is empty has no record, and its oldest number is that of the next record', () => {
    const window = filled(0);

    expect([window.last, window.oldest]).toEqual([0, 1]);
    expect(window.after(0, 10)).toEqual([]);
  });

  it('continues to count from a given number', () => {
    const window = new RecordWindow<string>({ limit: 10, ttl: FOREVER }, 41);
    window.push('r42', Date.now());

    expect([window.last, window.oldest]).toEqual([42, 42]);
    expect(window.after(0, 10)).toEqual(['r42']);
    expect(window.after(41, 10)).toEqual(['r42']);
    expect(window.after(42, 10)).toEqual([]);
  });

  it('returns the records after a number, up to a limit', () => {
    const window = filled(5);

    expect(window.after(0, 2)).toEqual(['r1', 'r2']);
    expect(window.after(2, 2)).toEqual(['r3', 'r4']);
    expect(window.after(4, 2)).toEqual(['r5']);
    expect(window.after(5, 2)).toEqual([]);
    expect(window.after(99, 2)).toEqual([]);
    expect(window.after(1, FOREVER)).toEqual(['r2', 'r3', 'r4', 'r5']);
  });

  it('returns the record with a number, and undefined for a number that it does not have', () => {
    const window = filled(5, 3);

    expect([2, 3, 5, 6].map((number) => window.at(number))).toEqual([undefined, 'r3', 'r5', undefined]);
  });

  it('grows at its old end, as far as its limit and the age of the records allow', () => {
    const evicted: string[] = [];
    const window = new RecordWindow<string>({ limit: 8, ttl: 60_000 }, 100, (record) => evicted.push(record));
    const now = Date.now();
    window.prepend(['r99', 'r100'], [now, now]);
    expect([window.oldest, window.last, window.after(0, 10)]).toEqual([99, 100, ['r99', 'r100']]);

    window.push('r101', now);
    window.prepend(['r97', 'r98'], [now, now]);
    window.prepend(['r95', 'r96'], [now - 60_000, now]);
    expect([window.oldest, window.after(96, 2), window.at(101)]).toEqual([96, ['r97', 'r98'], 'r101']);
    expect(evicted).toEqual(['r95']);

    window.prepend(['r93', 'r94', 'r95'], [now, now, now]);
    expect([window.oldest, window.after(0, 10)]).toEqual([94, range(94, 101)]);
    window.push('r102', now);
    expect([window.oldest, window.at(94), window.at(102)]).toEqual([95, undefined, 'r102']);
    window.clear();
    window.startAfter(200);
    expect([window.last, window.oldest, window.after(0, 10)]).toEqual([200, 201, []]);
  });

  it('grows at its old end in many small steps in linear time', () => {
    const window = new RecordWindow<number>({ limit: 200_000, ttl: FOREVER }, 200_000);
    let moved = 0;
    const concat = jest.spyOn(Array.prototype, 'concat').mockImplementation(function (this: unknown[], ...rest) {
      const all = [...this, ...rest.flat()];
      moved += all.length;
      return all;
    });
    try {
      for (let n = 200_000; n > 0; n -= 100) {
        const page = Array.from({ length: 100 }, (_, index) => n - 99 + index);
        window.prepend(page, page);
      }
    } finally {
      concat.mockRestore();
    }

    expect([window.oldest, window.at(1), window.at(77_777), window.at(200_000)]).toEqual([1, 1, 77_777, 200_000]);
    expect(moved).toBeLessThan(8 * 200_000);
  });

  it('keeps records by the limit that it was given last', () => {
    const window = filled(10, 10);

    window.retain({ limit: 3, ttl: FOREVER });
    expect(window.after(0, 10)).toEqual(['r8', 'r9', 'r10']);
    window.retain({ limit: 4, ttl: FOREVER });
    window.push('r11', Date.now());
    window.push('r12', Date.now());

    expect(window.after(0, 10)).toEqual(['r9', 'r10', 'r11', 'r12']);
  });

  it('keeps only the newest records up to its limit', () => {
    const window = filled(3, 3);
    for (let n = 4; n <= 5_000; n++) {
      window.push(`r${n}`, Date.now());

      expect([window.oldest, window.last]).toEqual([n - 2, n]);
      expect(window.after(n - 3, 10)).toEqual([`r${n - 2}`, `r${n - 1}`, `r${n}`]);
      expect(window.after(n - 1, 10)).toEqual([`r${n}`]);
    }
    expect(window.after(0, 2)).toEqual(['r4998', 'r4999']);
  });

  it('with a limit of 0 keeps no record, and continues to count', () => {
    const window = filled(3, 0);

    expect([window.oldest, window.last]).toEqual([4, 3]);
    expect(window.after(0, 10)).toEqual([]);
  });

  it('drops all records when it is cleared, and continues to count', () => {
    const window = filled(3);

    window.clear();
    window.push('r4', Date.now());

    expect([window.oldest, window.last]).toEqual([4, 4]);
    expect(window.after(0, 10)).toEqual(['r4']);
  });

  it('keeps no reference to an evicted record', async () => {
    const window = new RecordWindow<object>({ limit: 2, ttl: FOREVER });
    const held: WeakRef<object>[] = [];
    for (let n = 1; n <= 5; n++) {
      const record = { n };
      held.push(new WeakRef(record));
      window.push(record, Date.now());
    }

    const records = (window as unknown as { records: unknown[] }).records;

    expect(records.filter((record) => record !== undefined)).toEqual([{ n: 4 }, { n: 5 }]);
    expect(held).toHaveLength(5);
  });
});

describe('A record window with a maximum age', () => {
  beforeEach(() => jest.useFakeTimers({ now: 1_000_000 }));
  afterEach(() => jest.useRealTimers());

  it('returns no record that is older', () => {
    const window = filled(2, 1_000, 100);
    jest.setSystemTime(1_000_050);
    window.push('r3', Date.now());

    jest.setSystemTime(1_000_099);
    expect(window.after(0, 10)).toEqual(['r1', 'r2', 'r3']);
    jest.setSystemTime(1_000_100);
    expect(window.oldest).toBe(3);
    expect(window.after(0, 10)).toEqual(['r3']);
    expect(window.after(1, 10)).toEqual(['r3']);
    jest.setSystemTime(1_000_150);
    expect(window.after(0, 10)).toEqual([]);
    expect([window.oldest, window.last]).toEqual([4, 3]);
  });

  it('does not keep a record that is already too old', () => {
    const window = filled(0, 1_000, 100);
    window.push('r1', Date.now() - 100);
    window.push('r2', Date.now());

    expect(window.after(0, 10)).toEqual(['r2']);
  });

  it('evicts records by the age that it was given last, even if it is not read', () => {
    const window = filled(2, 1_000, 100_000);
    const { records } = window as unknown as { records: unknown[] };

    window.retain({ limit: 1_000, ttl: 100 });
    jest.advanceTimersByTime(99);
    expect(records.length).toBe(2);
    jest.advanceTimersByTime(1);

    expect(records.length).toBe(0);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('evicts older records even if it is not read, and stops its timer after the last of them', () => {
    const window = filled(2, 1_000, 100);
    const { records } = window as unknown as { records: unknown[] };
    jest.advanceTimersByTime(50);
    window.push('r3', Date.now());
    expect(jest.getTimerCount()).toBe(1);

    jest.advanceTimersByTime(50);
    expect(records.filter((record) => record !== undefined)).toEqual(['r3']);
    jest.advanceTimersByTime(50);
    expect(records.filter((record) => record !== undefined)).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('has no timer if it was cleared, or if it keeps records forever', () => {
    const window = filled(2, 1_000, 100);
    window.clear();
    filled(2);

    expect(jest.getTimerCount()).toBe(0);
  });

  it('that is longer than the longest timer keeps its records for at least that time', () => {
    const window = filled(1, 1_000, 2 ** 40);

    jest.advanceTimersByTime(2 ** 31);

    expect(window.after(0, 10)).toEqual(['r1']);
    expect(jest.getTimerCount()).toBe(1);
    window.clear();
  });
});
