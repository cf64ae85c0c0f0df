import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../support/documentation.js';

interface Turns {
  random(seed: number): () => number;
  shuffled<T>(items: readonly T[], next: () => number): T[];
  takeTurns(
    count: number,
    slice: (contestant: number) => Promise<number>,
    how: { readonly ms: number; readonly fewest: number; readonly next: () => number },
  ): Promise<number[][]>;
}

interface Measured {
  readonly name: string;
  readonly gathered?: string;
  readonly floor?: string;
  readonly variant?: string;
  readonly rounds: readonly { readonly cpu: number; readonly process?: number }[];
}

interface Outcome {
  readonly scenario: string;
  readonly title: string;
  readonly measured: readonly Measured[];
}

const script = (name: string) => pathToFileURL(join(ROOT, 'bench', name)).href;
const { random, shuffled, takeTurns } = (await import(script('paired/turns.mjs'))) as Turns;
const { tableOf } = (await import(script('report.mjs'))) as { tableOf(outcome: Outcome): string };
const { targetsOf } = (await import(script('targets.mjs'))) as {
  targetsOf(outcome: Outcome): { readonly limit: number; readonly measured: number; readonly met: boolean }[];
};

/** The cells of a row of a Markdown table. */
const row = (table: string, name: string) =>
  table
    .split('\n')
    .find((line) => line.startsWith(`| ${name} `))
    ?.split('|')
    .map((cell) => cell.trim())
    .slice(2, -1);

describe('the paired mode of the benchmark', () => {
  it('gives every contestant one slice in each block, in every order equally often', async () => {
    const order: number[] = [];
    const slice = async (contestant: number) => order.push(contestant);
    const blocks = await takeTurns(3, slice, { ms: 0, fewest: 6_000, next: random(1) });

    expect(blocks).toHaveLength(6_000);
    const orders = new Map<string, number>();
    for (let i = 0; i < order.length; i += 3) {
      const key = order.slice(i, i + 3).join('');
      orders.set(key, (orders.get(key) ?? 0) + 1);
    }
    expect([...orders.keys()].sort()).toEqual(['012', '021', '102', '120', '201', '210']);
    // 1000 each, with a standard deviation of 29. The numbers are the same every time.
    expect(Math.min(...orders.values())).toBeGreaterThan(900);
  });

  it('notes what was measured for a contestant in its place, whatever the order was', async () => {
    const slice = async (contestant: number) => contestant * 10;
    expect(await takeTurns(3, slice, { ms: 0, fewest: 2, next: random(5) })).toEqual([
      [0, 10, 20],
      [0, 10, 20],
    ]);
  });

  it('does not change the items that it shuffles', () => {
    const items = [1, 2, 3];
    expect(shuffled(items, random(3)).sort()).toEqual([1, 2, 3]);
    expect(items).toEqual([1, 2, 3]);
  });

  const GATHERED = 'raw net.Socket, gathered';
  /** In the second half, the machine is ten times slower. The ratios within blocks are 1, 1.1 … 1.9. */
  const rounds = Array.from({ length: 10 }, (_, i) => ({
    slow: i < 5 ? 1_000 : 10_000,
    ratio: 1 + i / 10,
    process: 1 + (i % 2),
  }));
  const fanout: Outcome = {
    scenario: 'paired-fanout',
    title: 'Paired fan-out',
    measured: [
      { name: GATHERED, gathered: GATHERED, rounds: rounds.map(({ slow, process }) => ({ cpu: slow, process })) },
      {
        name: 'ours, Express',
        gathered: GATHERED,
        rounds: rounds.map(({ slow, ratio, process }) => ({ cpu: slow * ratio, process })),
      },
      {
        name: 'ours, Express, native writer',
        variant: 'native',
        gathered: GATHERED,
        rounds: rounds.map(({ slow, process }) => ({ cpu: slow * 0.85, process })),
      },
    ],
  };

  it('calculates ratios within blocks, so that a slow phase of the machine does not matter, and ratios of sums', () => {
    const table = tableOf(fanout);
    // Half of 1.4 and 1.5, 1.1 and 1.9 at the tenths, the medians of both processes, and (1 + 1.1 + … + 10 × 1.9) / 55.
    expect(row(table, 'ours, Express')?.slice(1)).toEqual(['1.45 (1.10–1.90)', '1.40–1.50', '1.65', '—', '10']);
    expect(row(table, GATHERED)?.slice(1)).toEqual(['—', '—', '—', '—', '10']);
  });

  it('compares medians of ratios with the targets, which are lower for the native writer', () => {
    expect(targetsOf(fanout)).toMatchObject([
      { limit: 1.1, measured: expect.closeTo(1.45), met: false },
      { limit: 0.9, measured: expect.closeTo(0.85), met: true },
    ]);
  });

  it('subtracts within blocks what any code does for a message', () => {
    const floor = 'JSON.stringify()';
    const stringify = [1_000, 2_000, 50_000];
    const outcome: Outcome = {
      scenario: 'paired-publish',
      title: 'publish()',
      measured: [
        { name: floor, floor, rounds: stringify.map((cpu) => ({ cpu })) },
        { name: 'ours, publish()', floor, rounds: stringify.map((cpu, i) => ({ cpu: cpu + 3_000 + i })) },
      ],
    };
    expect(targetsOf(outcome)).toMatchObject([{ limit: 4, measured: expect.closeTo(3.001, 6), met: true }]);
    expect(row(tableOf(outcome), 'ours, publish()')?.[1]).toBe('3.00 (3.00–3.00)');
  });
});
