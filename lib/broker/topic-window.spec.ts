import { TopicWindow } from './topic-window.js';

const LIMIT = 5;
const RETENTION = { limit: LIMIT, ttl: Number.POSITIVE_INFINITY };

/** Returns the records of a window as its readers see them. */
function contentsOf(window: TopicWindow<string>) {
  return {
    size: window.size,
    last: window.last,
    completeAfter: window.completeAfter,
    lastTime: window.lastTime,
    records: window.after(0, 100),
    byIndex: Array.from({ length: window.size }, (_, index) => [window.at(index), window.numberAt(index)]),
    around: [window.at(-1), window.at(window.size), window.numberAt(-1), window.numberAt(window.size)],
  };
}

/** Adds the records with these numbers. */
function push(window: TopicWindow<string>, ...numbers: number[]): void {
  for (const number of numbers) {
    window.push(`r${number}`, number, number, RETENTION);
  }
}

describe('The window of a topic', () => {
  it('keeps the newest records, however many were evicted before', () => {
    const evicted: string[] = [];
    const window = new TopicWindow<string>(0, (record) => evicted.push(record));
    for (let count = 1; count <= 40; count++) {
      push(window, 3 * count);
      const kept = Array.from(
        { length: Math.min(count, LIMIT) },
        (_, i) => 3 * (count - Math.min(count, LIMIT) + 1 + i),
      );

      expect(contentsOf(window)).toEqual({
        size: kept.length,
        last: 3 * count,
        completeAfter: Math.max(0, 3 * (count - LIMIT)),
        lastTime: 3 * count,
        records: kept.map((number) => `r${number}`),
        byIndex: kept.map((number) => [`r${number}`, number]),
        around: [undefined, undefined, undefined, undefined],
      });
      expect(window.indexAfter(3 * count - 3)).toBe(kept.length - 1);
      expect(window.after(3 * count - 4, 1)).toEqual([kept.length > 1 ? `r${3 * count - 3}` : `r${3 * count}`]);
    }
    expect(evicted).toEqual(Array.from({ length: 35 }, (_, i) => `r${3 * (i + 1)}`));
  });

  it('takes the records before the oldest one, also after some were evicted', () => {
    const window = new TopicWindow<string>(0);
    push(window, 1, 2, 3, 4, 5, 6, 7);

    window.prepend(['p1', 'p2'], [1, 2], [1, 2], 0);

    expect(window.after(0, 100)).toEqual(['p1', 'p2', 'r3', 'r4', 'r5', 'r6', 'r7']);
    expect(window.completeAfter).toBe(0);
    expect(window.indexAfter(2)).toBe(2);
  });

  it('has no record after all were dropped, but knows the number of the last one', () => {
    const window = new TopicWindow<string>(0);
    push(window, 1, 2, 3, 4, 5, 6);

    window.dropUpTo(9);
    expect(contentsOf(window)).toMatchObject({ size: 0, last: 9, completeAfter: 9, lastTime: undefined, records: [] });

    push(window, 11, 12);
    window.clear();
    expect(contentsOf(window)).toMatchObject({
      size: 0,
      last: 12,
      completeAfter: 12,
      lastTime: undefined,
      records: [],
    });
  });
});
