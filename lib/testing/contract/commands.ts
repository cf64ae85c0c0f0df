import type * as fc from 'fast-check';
import type { HubOverflowPolicy } from '../../hub/overflow.js';
import { LIMIT } from './delivery-audit.js';

const TOPICS = ['a', 'b', 'c'] as const;
const KEYS = ['k', 'l'] as const;

/** One step of an interleaving. Numbers that select a hub, a subscriber or an event wrap around. */
export type Command =
  | {
      readonly do: 'publish';
      readonly hub: number;
      readonly topic?: string;
      readonly key?: string;
      readonly pad: number;
    }
  | { readonly do: 'evict'; readonly hub: number; readonly count: number }
  | ({ readonly do: 'subscribe' } & SubscribeCommand)
  | { readonly do: 'read'; readonly subscriber: number; readonly count: number }
  | { readonly do: 'resume' | 'leave'; readonly subscriber: number }
  | { readonly do: 'wait'; readonly turns: number }
  | FaultCommand;

/** A fault of the store, or of the connection of one hub to it. */
export type FaultCommand =
  | { readonly do: 'cut'; readonly hub: number }
  | { readonly do: 'rewind'; readonly count: number }
  | { readonly do: 'freeze' | 'thaw' };

/** The faults that a setup can cause. */
export type Faults = ReadonlySet<FaultCommand['do']>;

export interface SubscribeCommand {
  readonly hub: number;
  readonly topics: string[] | undefined;
  readonly even: boolean;
  /** The id from which to resume: none (`now`), that of an event (`event`), or an id for which the hub must send a reset. */
  readonly from: 'now' | 'event' | 'malformed' | 'hub' | 'epoch' | 'future';
  readonly pick: number;
  readonly overflow: HubOverflowPolicy;
  readonly items: number;
  readonly bytes: number;
}

/** The package `fast-check`, which is imported only when it is needed. */
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
    from: fc.constantFrom('now' as const, 'now', 'event', 'event', 'event', 'malformed', 'hub', 'epoch', 'future'),
    pick: fc.nat(100),
    overflow: fc.constantFrom('disconnect' as const, 'drop-oldest', 'drop-newest', 'latest'),
    items: fc.integer({ min: 1, max: 6 }),
    bytes: fc.constantFrom(25, 60, Number.POSITIVE_INFINITY),
  });
}

function faultsOf(fc: FastCheck, faults: Faults): fc.Arbitrary<FaultCommand>[] {
  const all: Record<FaultCommand['do'], fc.Arbitrary<FaultCommand>> = {
    cut: fc.record({ do: fc.constant('cut' as const), hub: fc.nat(20) }),
    rewind: fc.record({ do: fc.constant('rewind' as const), count: fc.integer({ min: 1, max: LIMIT }) }),
    freeze: fc.record({ do: fc.constant('freeze' as const) }),
    thaw: fc.record({ do: fc.constant('thaw' as const) }),
  };
  return [...faults].map((fault) => all[fault]);
}

/** Generates interleavings of publishing, eviction, subscribing, reading, leaving, resuming, and of faults. */
function interleavings(fc: FastCheck, faults: Faults): fc.Arbitrary<Command[]> {
  const index = fc.nat(20);
  const command = fc.oneof(
    { weight: 8, arbitrary: publishing(fc) },
    { weight: 3, arbitrary: subscribing(fc) },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('read' as const),
        subscriber: index,
        count: fc.integer({ min: 1, max: 5 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('resume' as const, 'leave'), subscriber: index }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('evict' as const),
        hub: index,
        count: fc.integer({ min: 1, max: 2 * LIMIT }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), turns: fc.integer({ min: 1, max: 3 }) }) },
    ...(faults.size > 0 ? [{ weight: 1, arbitrary: fc.oneof(...faultsOf(fc, faults)) }] : []),
  );
  return fc.array<Command>(command, { maxLength: 80, size: 'max' });
}

interface Trial {
  readonly faults: Faults;
  readonly runs: number;
  readonly seed: number | undefined;
  /** The time limit of all runs, in milliseconds. */
  readonly within: number;
}

/** Checks a property with `runs` random interleavings. */
export function checkInterleavings(
  fc: FastCheck,
  { faults, runs, seed, within }: Trial,
  property: (commands: Command[]) => Promise<void>,
): Promise<void> {
  return fc.assert(fc.asyncProperty(interleavings(fc, faults), property), {
    numRuns: runs,
    interruptAfterTimeLimit: within,
    ...(seed === undefined ? {} : { seed }),
  });
}
