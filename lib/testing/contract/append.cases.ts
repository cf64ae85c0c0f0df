import assert from 'node:assert/strict';
import type { BrokerEntry } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import { appendAll, assertPlain, entry, entryOf, range, readAll } from './entries.js';

/** What may be published, at its most awkward. */
const ENTRIES: readonly BrokerEntry[] = [
  { data: '{"a":[1,null,"x"]}', encoding: 'json' },
  { data: 'null', encoding: 'json', topic: 'topic', type: 'type', key: 'key' },
  { data: '', encoding: 'text', type: '', key: '' },
  { data: 'lines\r\nand\ttabs\0and\u001bcontrols\n', encoding: 'text', key: 'a key\nof lines' },
  {
    data: 'Grüße 😀 \u2028 e\u0301 é \ufeff 漢字',
    encoding: 'text',
    topic: 'Ünï/😀 *.>:{}[] "\'',
    type: '😀 type',
    key: '😀 {key}',
  },
  { data: Buffer.from(range(0, 255)).toString('base64'), encoding: 'base64', topic: 'x'.repeat(1_024) },
  { data: '', encoding: 'base64' },
  { data: '  spaces  ', encoding: 'text', topic: ' topic ', key: ' key ' },
  { data: 'true', encoding: 'text' },
  { data: '0', encoding: 'json', topic: '0', type: '0', key: '0' },
];

async function tellsPositions(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const { start } = await context.recordTail(broker, log);

  const positions = [];
  for (const n of range(1, 5)) {
    positions.push(await broker.append(log, entry(n)));
  }

  assert.match(start.epoch, /^[A-Za-z0-9_]{1,32}$/);
  assert.equal(start.offset, 0);
  assert.deepEqual(
    positions.map(({ epoch, offset }) => ({ epoch, offset })),
    range(1, 5).map((offset) => ({ epoch: start.epoch, offset })),
  );
}

async function keepsOrderUnawaited(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);

  const positions = await Promise.all(range(1, 200).map((n) => broker.append(log, entry(n))));

  assert.deepEqual(
    positions.map(({ offset }) => offset),
    range(1, 200),
  );
  assertPlain(await recorder.count(200), 1, 200);
  assertPlain(await readAll(broker, log), 1, 200);
}

async function takesManyPublishers(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(3);
  const recorders = await Promise.all(clients.map((client) => context.recordTail(client, log)));

  const positions = await Promise.all(
    range(0, 149).map((n) => clients[n % 3]?.append(log, { data: `${n}`, encoding: 'text', key: `${n % 3}` })),
  );

  const offsets = positions.map((position) => position?.offset ?? 0);
  assert.deepEqual(
    [...offsets].sort((a, b) => a - b),
    range(1, 150),
  );
  const told = await Promise.all(recorders.map((recorder) => recorder.count(150)));
  const [first = []] = told;
  assert.ok(first.every(({ data, offset }) => offsets[Number(data)] === offset));
  assert.deepEqual(
    first.map(({ offset }) => offset),
    range(1, 150),
  );
  for (const publisher of ['0', '1', '2']) {
    const own = first.filter(({ key }) => key === publisher).map(({ data }) => Number(data));
    assert.deepEqual(
      own,
      [...own].sort((a, b) => a - b),
      'The entries of one caller keep their order',
    );
  }
  for (const other of [...told, ...(await Promise.all(clients.map((client) => readAll(client, log))))]) {
    assert.deepEqual(other, first, 'All clients are told the same');
  }
}

async function keepsEntries(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);
  const began = Date.now();

  for (const each of ENTRIES) {
    await broker.append(log, each);
  }

  const told = await recorder.count(ENTRIES.length);
  assert.deepEqual(told.map(entryOf), ENTRIES.map(entryOf));
  const read = await readAll(broker, log);
  assert.deepEqual(read.map(entryOf), ENTRIES.map(entryOf));
  assert.deepEqual(
    read.map(({ time }) => time),
    told.map(({ time }) => time),
  );
  for (const { time } of read) {
    assert.ok(
      Math.abs(time - began) < 60_000,
      `A record of ${began} has the time ${time}: is the clock of the store off?`,
    );
  }
}

async function keepsLargeData(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);
  const large = range(1, 60_000)
    .map((n) => `${n}`.padStart(10, '·'))
    .join('');

  await broker.append(log, { data: large, encoding: 'text' });
  await appendAll(broker, log, 2, 2);

  assert.ok((await recorder.count(2))[0]?.data === large, 'A tail is told of large data as it is');
  const [read] = await broker.read(log, 0, 1);
  assert.ok(read?.data === large, 'Large data is read as it is');
}

async function keepsLogsApart(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const other = `${log}-other: ü *.>`;
  await broker.open(other, { limit: 1, ttl: 3_600_000 });
  const recorder = await context.recordTail(broker, log);
  const otherRecorder = await context.recordTail(broker, other);

  await broker.append(other, { data: 'other', encoding: 'text' });
  await appendAll(broker, log, 1, 3);
  const position = await broker.append(other, { data: 'other', encoding: 'text' });

  assert.equal(position.offset, 2);
  assertPlain(await recorder.count(3), 1, 3);
  assertPlain(await readAll(broker, log), 1, 3);
  assert.deepEqual(
    (await otherRecorder.count(2)).map(({ data }) => data),
    ['other', 'other'],
  );
}

export const APPEND_CASES: readonly Case[] = [
  ['append() tells where an entry stands: offsets count up from 1 in one epoch', tellsPositions],
  ['append() keeps the order of a caller that does not wait in between', keepsOrderUnawaited],
  ['append() takes entries of several publishers at once, in one order for all', takesManyPublishers],
  ['append() keeps entries as they are: encodings, unicode, what is left out', keepsEntries],
  ['append() keeps large data as it is', keepsLargeData],
  ['logs do not see each other', keepsLogsApart],
];
