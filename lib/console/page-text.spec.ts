/** The module of the page, which has no types. Its other functions need a browser. */
const TEXT = './page/text.js';
const { time } = (await import(TEXT)) as { time(at: number): string };

describe('The page of the console', () => {
  it('shows times from 0 to 23 hours', () => {
    const hourOf = (hour: number): number => Number.parseInt(time(new Date(2026, 0, 1, hour, 5).getTime()), 10);

    expect([0, 1, 12, 23].map(hourOf)).toEqual([0, 1, 12, 23]);
  });
});
