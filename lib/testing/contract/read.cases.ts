import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import { appendAll, assertPlain, entry, range, readAll } from './entries.js';

async function readsRanges(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [first, second] = clients as [(typeof clients)[0], (typeof clients)[0]];
  await appendAll(first, log, 1, 30);

  for (const reader of new Set([first, second])) {
    for (const count of [1, 2, 7, 30, 1_000]) {
      assertPlain(await readAll(reader, log, 0, count), 1, 30);
      assertPlain(await readAll(reader, log, 11, count), 12, 30);
    }
    assertPlain(await reader.read(log, 29, 5), 30, 30);
    assertPlain(await reader.read(log, 4, 1), 5, 5);
    const page = await reader.read(log, 0, 10);
    assertPlain(page, 1, page.length);
  }
}

async function readsNothingAfterTheEnd(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();

  assert.deepEqual(await broker.read(log, 0, 10), []);
  await appendAll(broker, log, 1, 3);
  assert.deepEqual(await broker.read(log, 3, 10), []);
  assert.deepEqual(await broker.read(log, 4, 10), []);
  assert.deepEqual(await broker.read(log, 1_000_000, 1), []);
}

async function readsWhatTailsDeliver(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const recorder = await context.recordTail(reader, log);
  await Promise.all(range(1, 50).map((n) => publisher.append(log, entry(n))));

  await recorder.count(50);

  assert.deepEqual(await readAll(reader, log), recorder.records);
}

async function readsWhatWasAppended(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];
  for (const n of range(1, 20)) {
    const { offset } = await publisher.append(log, entry(n));
    assertPlain(await reader.read(log, offset - 1, 1), n, n);
  }
}

export const READ_CASES: readonly Case[] = [
  ['read() returns the records after an offset, oldest first, and at most as many as requested', readsRanges],
  ['read() returns an empty array after the end of the log', readsNothingAfterTheEnd],
  ['read() returns the same records that a tail delivers', readsWhatTailsDeliver],
  ['read() returns a record as soon as its append() has resolved', readsWhatWasAppended],
];
