import assert from 'node:assert/strict';
import type { Broker, BrokerEntry, BrokerRecord } from '../../broker/broker.js';

/** Returns the n-th plain entry. Each has different data. */
export function entry(n: number): BrokerEntry {
  return { data: `{"n":${n}}`, encoding: 'json', topic: n % 2 === 0 ? 'even' : 'odd' };
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

/** Appends the plain entries from `first` to `last`, one after the other. */
export async function appendAll(broker: Broker, log: string, first: number, last: number): Promise<void> {
  for (const n of range(first, last)) {
    await broker.append(log, entry(n));
  }
}

/** Reads a log to its end, in pages of `count` records. */
export async function readAll(broker: Broker, log: string, after = 0, count = 512): Promise<BrokerRecord[]> {
  const all: BrokerRecord[] = [];
  for (let at = after; ; at = all.at(-1)?.offset ?? at) {
    const records = await broker.read(log, at, count);
    assert.ok(
      records.length <= count,
      `read() returned ${records.length} records where at most ${count} were requested`,
    );
    if (records.length === 0) {
      return all;
    }
    all.push(...records);
    assert.ok((all.at(-1)?.offset ?? 0) > at, 'read() must return records after the offset it was called with');
  }
}

/** Asserts that the records are the plain entries from `first` to `last`, at the offsets of the same numbers. */
export function assertPlain(records: readonly BrokerRecord[], first: number, last: number): void {
  assert.deepEqual(
    records.map(({ offset, data }) => [offset, data]),
    range(first, last).map((n) => [n, entry(n).data]),
  );
}

/** Returns the fields of a record that its publisher appended. */
export function entryOf({ data, encoding, topic, type, key }: BrokerEntry): BrokerEntry {
  return { data, encoding, topic, type, key };
}
