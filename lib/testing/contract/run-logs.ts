import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Broker, BrokerEntry, BrokerPosition } from '../../broker/broker.js';
import { type BrokerRuns, hasRuns } from '../../broker/broker-runs.js';
import type { ContractContext } from './contract-context.js';
import { entry, range, readAll } from './entries.js';

/** A broker that can have runs. */
export type RunsBroker = Broker & BrokerRuns;

/** Longer than any case runs, in milliseconds. */
export const LONG_MS = 120_000;
/** A time that a case waits for, in milliseconds. */
export const SHORT_MS = 300;

/** Two clients of one store, and the name of a log that does not exist. */
export interface RunClients {
  /** They are the same broker if brokers share no store. */
  readonly one: RunsBroker;
  readonly two: RunsBroker;
  readonly log: string;
}

/** Returns the name of a log that was never used before. */
export function newRunLog(key: string = randomUUID()): string {
  return `~contract-${randomUUID()}/${key}`;
}

export async function runClients(context: ContractContext): Promise<RunClients> {
  const one = withRuns(await context.broker());
  const two = withRuns(await context.another(one));
  return { one, two, log: newRunLog() };
}

function withRuns(broker: Broker): RunsBroker {
  assert.ok(hasRuns(broker), 'The broker must have the methods of BrokerRuns');
  return broker;
}

/** Returns the plain entries from `first` to `last`. */
export function entries(first: number, last: number): BrokerEntry[] {
  return range(first, last).map(entry);
}

/** Creates a log with the plain entries from 1 to `last`. */
export async function created(
  broker: RunsBroker,
  log: string,
  last: number,
  after?: BrokerPosition,
): Promise<BrokerPosition> {
  return at(await broker.create(log, entries(1, last), LONG_MS, after && { after }), last);
}

/** Asserts that a call has resolved to the position of an offset. */
export function at(position: BrokerPosition | false, offset: number): BrokerPosition {
  assert.ok(position, `The call must succeed, and resolve to the position of offset ${offset}`);
  assert.match(position.epoch, /^[A-Za-z0-9_]{1,32}$/);
  assert.equal(position.offset, offset);
  return { epoch: position.epoch, offset };
}

/** Waits until a log does not exist. */
export function untilGone(context: ContractContext, broker: RunsBroker, log: string): Promise<void> {
  return context.until('A log that was to expire does not exist', async () => {
    return (await broker.read(log, 0, 1)).length === 0;
  });
}

/** Asserts that a log does not exist for any method. */
export async function assertGone(broker: RunsBroker, log: string): Promise<void> {
  assert.deepEqual(await broker.read(log, 0, 10), []);
  assert.equal(await broker.appendAll(log, entries(1, 1)), false, 'appendAll() of a log that does not exist');
  assert.equal(await broker.expire(log, LONG_MS), false, 'expire() of a log that does not exist');
  assert.deepEqual(await readAll(broker, log), [], 'Neither appendAll() nor expire() creates a log');
}
