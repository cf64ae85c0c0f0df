import assert from 'node:assert/strict';
import type { Broker, BrokerEntry, BrokerRecord } from '../../broker/broker.js';

/** The n-th of plain entries, told apart by their data. */
export function entry(n: number): BrokerEntry {
  return { data: `{"n":${n}}`, encoding: 'json', topic: n % 2 === 0 ? 'even' : 'odd' };
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

/** Appends plain entries, each when the one before is there. */
export async function appendAll(broker: Broker, log: string, first: number, last: number): Promise<void> {
  for (const n of range(first, last)) {
    await broker.append(log, entry(n));
  }
}

/** Reads a log to its end, as many times as that takes. */
export async function readAll(broker: Broker, log: string, after = 0, count = 512): Promise<BrokerRecord[]> {
  const all: BrokerRecord[] = [];
  for (let at = after; ; at = all.at(-1)?.offset ?? at) {
    const records = await broker.read(log, at, count);
    assert.ok(records.length <= count, `read() of ${count} gave ${records.length}`);
    if (records.length === 0) {
      return all;
    }
    all.push(...records);
    assert.ok((all.at(-1)?.offset ?? 0) > at, 'read() goes on after the offset it is given');
  }
}

/** Checks that plain entries stand where they should. */
export function assertPlain(records: readonly BrokerRecord[], first: number, last: number): void {
  assert.deepEqual(
    records.map(({ offset, data }) => [offset, data]),
    range(first, last).map((n) => [n, entry(n).data]),
  );
}

/** What was appended of a record. */
export function entryOf({ data, encoding, topic, type, key }: BrokerEntry): BrokerEntry {
  return { data, encoding, topic, type, key };
}
