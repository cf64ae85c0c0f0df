import assert from 'node:assert/strict';
import type { Broker, BrokerPosition, BrokerRecord } from '../../broker/broker.js';
import type { ContractContext } from './contract-context.js';
import { entry, range } from './entries.js';

/** The data of entries that are only appended to find out whether the broker has connected again. */
const PROBE = '"probe"';

/** The outcome of an append: a position, or the code of the error. */
export interface Outcome {
  readonly n: number;
  readonly position?: BrokerPosition;
  readonly code?: unknown;
}

/** Appends the plain entries from `first` to `last` without waiting in between. Resolves once each append has settled. */
export function appendConcurrently(broker: Broker, log: string, first: number, last: number): Promise<Outcome[]> {
  return Promise.all(
    range(first, last).map((n) =>
      broker.append(log, entry(n)).then(
        (position): Outcome => ({ n, position }),
        (error: { readonly code?: unknown } | undefined): Outcome => ({ n, code: error?.code }),
      ),
    ),
  );
}

/** Appends entries, which {@link withoutProbes} ignores, until the broker takes one. */
export function untilBack(context: ContractContext, broker: Broker, log: string): Promise<void> {
  return context.until('append() works again', () =>
    broker.append(log, { data: PROBE, encoding: 'json' }).then(
      () => true,
      () => false,
    ),
  );
}

export function withoutProbes(records: readonly BrokerRecord[]): BrokerRecord[] {
  return records.filter(({ data }) => data !== PROBE);
}

/** Asserts that a log has every entry at most once, in the order of the calls, and as the outcome of each append says. */
export function assertOutcomes(records: readonly BrokerRecord[], outcomes: readonly Outcome[]): void {
  assert.deepEqual(
    records.map(({ offset }) => offset),
    range(1, records.length),
    'Offsets must count up from 1, without gaps',
  );
  const offsets = new Map<string, number>();
  for (const { data, offset } of withoutProbes(records)) {
    assert.ok(!offsets.has(data), `The entry ${data} was appended once, but is in the log twice`);
    offsets.set(data, offset);
  }
  for (const { n, position, code } of outcomes) {
    const offset = offsets.get(entry(n).data);
    if (position) {
      assert.equal(offset, position.offset, `The entry ${n} must be where append() has said`);
    } else if (code === 'broker-unavailable' || code === 'broker-busy') {
      assert.equal(offset, undefined, `append() rejected with "${code}", but the entry ${n} is in the log`);
    }
  }
  const order = outcomes.flatMap(({ n }) => offsets.get(entry(n).data) ?? []);
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
    'The entries of one caller must stay in the order of its calls',
  );
}
