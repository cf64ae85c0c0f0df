import type * as fc from 'fast-check';
import type { HubOverflowPolicy } from '../../hub/overflow.js';
import { LIMIT } from './delivery-audit.js';

const TOPICS = ['a', 'b', 'c'] as const;
const KEYS = ['k', 'l'] as const;

/** What happens, in this order. Numbers that pick something do so among what there is. */
export type Command =
  | {
      readonly do: 'publish';
      readonly hub: number;
      readonly topic?: string;
      readonly key?: string;
      readonly pad: number;
    }
  | { readonly do: 'evict'; readonly hub: number; readonly count: number }
  | ({ readonly do: 'subscribe' } & Subscribing)
  | { readonly do: 'read'; readonly who: number; readonly count: number }
  | { readonly do: 'come back' | 'leave'; readonly who: number }
  | { readonly do: 'wait'; readonly turns: number };

export interface Subscribing {
  readonly hub: number;
  readonly topics: string[] | undefined;
  readonly even: boolean;
  /** With which id: none, one of an event, or a bad one. */
  readonly from: 'now' | 'had' | 'malformed' | 'hub' | 'epoch' | 'future';
  readonly pick: number;
  readonly overflow: HubOverflowPolicy;
  readonly items: number;
  readonly bytes: number;
}

/** The package, which is loaded only where it is needed. */
export type FastCheck = typeof fc;

function publishing(fc: FastCheck): fc.Arbitrary<Command> {
  return fc.record({
    do: fc.constant('publish' as const),
    hub: fc.nat(20),
    topic: fc.option(fc.constantFrom(...TOPICS), { nil: undefined }),
    key: fc.option(fc.constantFrom(...KEYS), { nil: undefined }),
    pad: fc.nat(30),
  });
}

function subscribing(fc: FastCheck): fc.Arbitrary<Command> {
  return fc.record({
    do: fc.constant('subscribe' as const),
    hub: fc.nat(20),
    topics: fc.option(fc.uniqueArray(fc.constantFrom<string>(...TOPICS), { minLength: 1 }), { nil: undefined }),
    even: fc.boolean(),
    from: fc.constantFrom('now' as const, 'now', 'had', 'had', 'had', 'malformed', 'hub', 'epoch', 'future'),
    pick: fc.nat(100),
    overflow: fc.constantFrom('disconnect' as const, 'drop-oldest', 'drop-newest', 'latest'),
    items: fc.integer({ min: 1, max: 6 }),
    bytes: fc.constantFrom(25, 60, Number.POSITIVE_INFINITY),
  });
}

/** Any interleaving of what publishers and subscribers may do. */
function interleavings(fc: FastCheck): fc.Arbitrary<Command[]> {
  const index = fc.nat(20);
  const command = fc.oneof(
    { weight: 8, arbitrary: publishing(fc) },
    { weight: 3, arbitrary: subscribing(fc) },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('read' as const), who: index, count: fc.integer({ min: 1, max: 5 }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('come back' as const, 'leave'), who: index }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('evict' as const),
        hub: index,
        count: fc.integer({ min: 1, max: 2 * LIMIT }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), turns: fc.integer({ min: 1, max: 3 }) }) },
  );
  return fc.array<Command>(command, { maxLength: 80, size: 'max' });
}

interface Trial {
  readonly runs: number;
  readonly seed: number | undefined;
  /** In milliseconds. */
  readonly within: number;
}

/** Tries a property with many of them. */
export function tryAll(
  fc: FastCheck,
  { runs, seed, within }: Trial,
  property: (commands: Command[]) => Promise<void>,
): Promise<void> {
  return fc.assert(fc.asyncProperty(interleavings(fc), property), {
    numRuns: runs,
    interruptAfterTimeLimit: within,
    ...(seed === undefined ? {} : { seed }),
  });
}
