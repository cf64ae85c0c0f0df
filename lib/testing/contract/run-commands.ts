import type * as fc from 'fast-check';
import type { FastCheck } from './commands.js';

/** One step of an interleaving of runs. Numbers that select a process, a run or a viewer wrap around. */
export type RunCommand =
  | { readonly do: 'start'; readonly process: number; readonly id: number }
  | { readonly do: 'produce'; readonly id: number; readonly count: number }
  | { readonly do: 'end' | 'fail'; readonly id: number }
  | {
      readonly do: 'join';
      readonly process: number;
      readonly id: number;
      readonly from: 'start' | 'now' | 'after';
      readonly pick: number;
    }
  | { readonly do: 'leave'; readonly viewer: number }
  | { readonly do: 'stop' | 'delete'; readonly process: number; readonly id: number }
  | { readonly do: 'lose'; readonly id: number }
  | { readonly do: 'cut' | 'heal' | 'die'; readonly process: number }
  | { readonly do: 'wait'; readonly turns: number };

/** An interleaving, and the seed of the delays of all calls of the brokers. */
export interface RunScript {
  readonly commands: readonly RunCommand[];
  readonly delays: number;
}

/** Generates the commands, each kind with its weight. */
function commandsOf(fc: FastCheck): [number, fc.Arbitrary<RunCommand>][] {
  const index = fc.nat(20);
  const process = index;
  const id = fc.nat(1);
  return [
    [6, fc.record({ do: fc.constant('start' as const), process, id })],
    [8, fc.record({ do: fc.constant('produce' as const), id, count: fc.integer({ min: 1, max: 6 }) })],
    [3, fc.record({ do: fc.constantFrom('end' as const, 'fail'), id })],
    [
      8,
      fc.record({
        do: fc.constant('join' as const),
        process,
        id,
        from: fc.constantFrom('start' as const, 'now', 'after', 'after'),
        pick: index,
      }),
    ],
    [3, fc.record({ do: fc.constant('leave' as const), viewer: index })],
    [1, fc.record({ do: fc.constantFrom('stop' as const, 'stop', 'delete'), process, id })],
    [1, fc.record({ do: fc.constant('lose' as const), id })],
    [2, fc.record({ do: fc.constantFrom('cut' as const, 'heal', 'heal', 'die'), process })],
    [8, fc.record({ do: fc.constant('wait' as const), turns: fc.integer({ min: 1, max: 12 }) })],
  ];
}

/** Generates interleavings of all that can happen to runs. */
export function runScripts(fc: FastCheck): fc.Arbitrary<RunScript> {
  const command = fc.oneof(...commandsOf(fc).map(([weight, arbitrary]) => ({ weight, arbitrary })));
  return fc.record({
    commands: fc.array(command, { maxLength: 50, size: 'max' }),
    delays: fc.nat(1_000_000),
  });
}
