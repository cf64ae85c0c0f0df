import type { BrokerStatus } from '../broker/broker.js';
import type { Hub } from '../hub/hub.js';
import { highest } from './highest.js';
import { short } from './stream-description.js';

/** How many hubs are shown. */
const SHOWN = 50;
/** How many topics of a hub are named. The others are only counted. */
const NAMED = 8;

/** Returns the change per second of a figure that was `then` in the last snapshot, and whose rate was `earlier`. */
export type RateOf = (now: number, then: number | undefined, earlier: number | null | undefined) => number | null;

/** A hub in the form that the page shows. */
export interface ConsoleHub {
  readonly name: string;
  readonly subscribers: number;
  /** The number of subscribers in all processes. `null` if it is not known, or if there is no other process. */
  readonly everywhere: number | null;
  /** The status of the broker. `null` if it can have no connection. */
  readonly broker: BrokerStatus | null;
  readonly received: number;
  readonly kept: number;
  readonly rate: number | null;
  /** The topics with most subscribers, each with their number. */
  readonly topics: readonly (readonly [string, number])[];
  /** The number of all other topics that have a subscriber. */
  readonly otherTopics: number;
}

/** The numbers of subscribers of hubs in all processes. They are asked for when a hub is shown, and known in a later snapshot. */
export class HubCounts {
  private readonly counts = new Map<Hub, number>();
  private readonly asked = new Set<Hub>();

  of(hub: Hub): number | null {
    if (hub.countElsewhere && !this.asked.has(hub)) {
      this.asked.add(hub);
      void this.ask(hub);
    }
    return this.counts.get(hub) ?? null;
  }

  private async ask(hub: Hub): Promise<void> {
    try {
      this.counts.set(hub, await hub.count());
    } catch {
      // The broker cannot be reached, which its status says.
      this.counts.delete(hub);
    } finally {
      this.asked.delete(hub);
    }
  }
}

export function hubsOf(
  hubs: Iterable<Hub>,
  before: readonly ConsoleHub[] | undefined,
  { rateOf, counts }: { readonly rateOf: RateOf; readonly counts: HubCounts },
): ConsoleHub[] {
  return [...hubs].map((hub, index) => {
    const then = before?.find(({ name }) => name === hub.name);
    const { received, kept } = hub.log;
    const all = hub.topics.map((topic) => [topic, hub.size(topic)] as const);
    const topics = highest(all, NAMED, ([, subscribers]) => subscribers);
    return {
      name: hub.name,
      subscribers: hub.size(),
      everywhere: index < SHOWN ? counts.of(hub) : null,
      broker: hub.brokerStatus ?? null,
      received,
      kept,
      rate: rateOf(received, then?.received, then?.rate),
      topics: topics.map(([topic, subscribers]) => [short(topic), subscribers] as const),
      otherTopics: all.length - topics.length,
    };
  });
}

/** Returns the message for viewers: the hubs in the order in which they are registered, and how many more there are. */
export function shownHubs(hubs: readonly ConsoleHub[]): {
  readonly hubs: readonly ConsoleHub[];
  readonly moreHubs: number;
} {
  return { hubs: hubs.slice(0, SHOWN), moreHubs: Math.max(0, hubs.length - SHOWN) };
}
