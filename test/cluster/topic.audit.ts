import { type ClientSequence, type Position, type Published, positionOf } from './sequence.js';

/** An event that the log has or had. */
interface Known {
  readonly key: string;
  readonly topic: string;
  readonly at: Position;
}

/** The positions of a client in one epoch. */
interface Span {
  readonly epoch: string;
  /** The client receives what follows this offset. */
  readonly begin: number;
  end: number;
}

/** Returns the events whose positions publish() has returned, or a client has received. */
export function knownEvents(published: readonly Published[], clients: readonly ClientSequence[]): readonly Known[] {
  const topics = new Map(published.map(({ key, topic }) => [key, topic]));
  const acknowledged = published.flatMap(({ key, id }) => (id === undefined ? [] : [{ key, id }]));
  const received = clients.flatMap((client) =>
    client.received.flatMap(({ id, type, data }) => (type === undefined ? [{ key: String(data), id }] : [])),
  );
  const byId = new Map([...acknowledged, ...received].map((each) => [each.id, each]));
  return [...byId.values()].map(({ key, id }) => ({ key, topic: topics.get(key) ?? '', at: positionOf(id) }));
}

/**
 * Returns the faults in what a client of topics has received. Its positions increase, with gaps. So what it has to receive is known from others: all
 * events of its topics between the first and the last position of an epoch, and after a `reset`, all events of the new epoch.
 */
export function topicFaults(
  known: readonly Known[],
  topics: readonly string[],
  { name, received }: ClientSequence,
): string[] {
  const faults: string[] = [];
  const had = new Set<unknown>();
  const wanted = new Map(known.filter(({ topic }) => topics.includes(topic)).map(({ key, at }) => [key, at]));
  const spans: Span[] = [];
  for (const { id, type, data } of received) {
    const { epoch, offset } = positionOf(id);
    const span = spans.at(-1);
    if (type === undefined) {
      if (had.has(data)) {
        faults.push(`${name}: received ${id} (${String(data)}) twice`);
      }
      if (!wanted.has(String(data))) {
        faults.push(`${name}: received ${id} (${String(data)}), which is not of its topics`);
      }
      had.add(data);
    }
    if (type === 'reset') {
      // Nothing is evicted in these tests.
      if (spans.some((each) => each.epoch === epoch)) {
        faults.push(`${name}: received a reset at ${id}, in an epoch that it has been in`);
      }
      spans.push({ epoch, begin: 0, end: offset });
    } else if (span?.epoch === epoch) {
      if (type === undefined ? offset <= span.end : offset < span.end) {
        faults.push(`${name}: ${id} follows ${epoch}:${span.end}`);
      }
      span.end = Math.max(span.end, offset);
    } else {
      if (span) {
        faults.push(`${name}: ${id} follows ${span.epoch}:${span.end} without a reset`);
      }
      spans.push({ epoch, begin: offset, end: offset });
    }
  }
  const last = spans.at(-1);
  for (const [key, { epoch, offset }] of wanted) {
    const isWanted = spans.some(
      (span) => span.epoch === epoch && offset > span.begin && (span === last || offset <= span.end),
    );
    if (isWanted && !had.has(key)) {
      faults.push(`${name}: did not receive ${key} (offset ${offset}), and no reset said so`);
    }
  }
  return faults;
}
