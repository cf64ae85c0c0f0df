import {
  type ClientSequence,
  type Outcome,
  type Position,
  type Published,
  positionOf,
  type Received,
} from './sequence.js';
import { knownEvents, topicFaults } from './topic.audit.js';

/** A broken sequence has about as many faults as events. */
const SHOWN = 5;

/** What the clients received, compared with what was published. */
export interface Verdict {
  /** Sentences, at most {@link SHOWN} of each client. Empty if no client missed an event without a `reset`, or received one twice. */
  readonly faults: string[];
  readonly acknowledged: number;
  readonly rejected: number;
  readonly unknown: number;
  /** The number of `reset` that each client received, for each of its topics. */
  readonly resets: number[];
}

/**
 * Compares the sequence of each client, across all processes that it was connected to, with what was published. All clients must be without
 * filter, and must have received the last event that was published, of each of their topics.
 */
export function audit(published: readonly Published[], clients: readonly ClientSequence[]): Verdict {
  const known = clients.some(({ topics }) => topics) ? knownEvents(published, clients) : [];
  const sequenceFaults = (client: ClientSequence): string[] =>
    client.topics
      ? topicFaults(known, client.topics, client)
      : [...faultsOf(client), ...unannounced(published, client)];
  const faults = clients.flatMap((client) =>
    [...sequenceFaults(client), ...misattributed(published, client)].slice(0, SHOWN),
  );
  const count = (wanted: Outcome): number => published.filter(({ outcome }) => outcome === wanted).length;
  return {
    faults: [...faults, ...contradictions(clients)],
    acknowledged: count('acknowledged'),
    rejected: count('rejected'),
    unknown: count('unknown'),
    resets: clients.flatMap(({ topics = [undefined], received }) => topics.map((topic) => resetsOf(received, topic))),
  };
}

/** Returns how many times a client received a `reset` that names a topic, or all. */
function resetsOf(received: readonly Received[], topic: string | undefined): number {
  const names = (data: unknown): boolean => {
    const { topics } = data as { readonly topics?: readonly string[] };
    return topics === undefined || topic === undefined || topics.includes(topic);
  };
  return received.filter(({ type, data }) => type === 'reset' && names(data)).length;
}

/** The faults in the order of one client's events. */
function faultsOf({ name, received }: ClientSequence): string[] {
  const faults: string[] = [];
  const keys = new Set<unknown>();
  const ids = new Set<string>();
  let at: Position | undefined;
  for (const { id, type, data } of received) {
    const position = positionOf(id);
    if (type === undefined) {
      if (at && !(position.epoch === at.epoch && position.offset === at.offset + 1)) {
        faults.push(`${name}: ${id} follows ${at.epoch}:${at.offset} without a reset`);
      }
      if (ids.has(id) || keys.has(data)) {
        faults.push(`${name}: received ${id} (${String(data)}) twice`);
      }
      ids.add(id);
      keys.add(data);
    } else if (type === 'reset' && position.epoch === at?.epoch) {
      // All that the log still has follows.
      ids.clear();
      keys.clear();
    } else if (type === 'position' && at && (position.epoch !== at.epoch || position.offset !== at.offset)) {
      faults.push(`${name}: the position ${id} skips events after ${at.epoch}:${at.offset}`);
    } else if (type !== 'position' && type !== 'reset') {
      faults.push(`${name}: received an event of type ${type}`);
    }
    at = position;
  }
  return faults;
}

/** Events that a client received although they were rejected, or at another position than publish() returned. */
function misattributed(published: readonly Published[], { name, received }: ClientSequence): string[] {
  const byKey = new Map(published.map((each) => [each.key, each]));
  return received
    .filter(({ type }) => type === undefined)
    .flatMap(({ id, data }) => {
      const event = byKey.get(String(data));
      return [
        !event && `${name}: received ${String(data)}, which nobody published`,
        event?.outcome === 'rejected' && `${name}: received ${event.key}, which was rejected as not taken`,
        event?.id && event.id !== id && `${name}: received ${event.key} as ${id}, but publish() returned ${event.id}`,
      ].filter((fault) => typeof fault === 'string');
    });
}

/** Two clients that received different events with the same id. */
function contradictions(clients: readonly ClientSequence[]): string[] {
  const byId = new Map<string, unknown>();
  return clients.flatMap(({ name, received }) =>
    received.flatMap(({ id, type, data }) => {
      const other = type === undefined ? (byId.get(id) ?? data) : data;
      if (type === undefined) {
        byId.set(id, data);
      }
      return other === data
        ? []
        : [`${name}: ${id} is ${String(data)}, but another client received ${String(other)} as ${id}`];
    }),
  );
}

/** Acknowledged events that a client did not receive, though no `reset` told it so. */
function unannounced(published: readonly Published[], { name, received }: ClientSequence): string[] {
  const had = new Set(received.map(({ data }) => data));
  const last = positionOf(received.at(-1)?.id ?? '');
  // Only in its last epoch: every other one ended with a reset.
  const first = received.map(({ id }) => positionOf(id)).find(({ epoch }) => epoch === last.epoch);
  const begin = received.some(({ type }) => type === 'reset') ? 0 : (first?.offset ?? 0);
  return published.flatMap(({ key, id }) => {
    const { epoch, offset } = positionOf(id ?? '');
    return epoch === last.epoch && offset > begin && !had.has(key)
      ? [`${name}: did not receive ${key} (offset ${offset}), and no reset said so`]
      : [];
  });
}
