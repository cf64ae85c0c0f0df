import assert from 'node:assert/strict';
import type { BrokerEntry } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, assertPlain, entry, entryOf, range, readAll } from './entries.js';

type AppendRaw = NonNullable<BrokerContractSetup['appendRaw']>;

/** Entries with every field and encoding, and with characters that a store may mishandle. */
export const ENTRIES: readonly BrokerEntry[] = [
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

async function resolvesToPositions(context: ContractContext): Promise<void> {
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

async function keepsOrderOfCalls(context: ContractContext): Promise<void> {
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

async function ordersConcurrentPublishers(context: ContractContext): Promise<void> {
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
  const received = await Promise.all(recorders.map((recorder) => recorder.count(150)));
  const [first = []] = received;
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
      'The entries of one caller must stay in the order of its calls',
    );
  }
  for (const other of [...received, ...(await Promise.all(clients.map((client) => readAll(client, log))))]) {
    assert.deepEqual(other, first, 'All clients must receive the same records in the same order');
  }
}

async function storesEveryField(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);
  const began = Date.now();

  for (const each of ENTRIES) {
    await broker.append(log, each);
  }

  const received = await recorder.count(ENTRIES.length);
  assert.deepEqual(received.map(entryOf), ENTRIES.map(entryOf));
  const read = await readAll(broker, log);
  assert.deepEqual(read.map(entryOf), ENTRIES.map(entryOf));
  assert.deepEqual(
    read.map(({ time }) => time),
    received.map(({ time }) => time),
  );
  for (const { time } of read) {
    assert.ok(
      Math.abs(time - began) < 60_000,
      `A record that was appended at ${began} has the time ${time}: check the clock of the store`,
    );
  }
}

async function storesLargeData(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);
  const large = range(1, 60_000)
    .map((n) => `${n}`.padStart(10, '·'))
    .join('');

  await broker.append(log, { data: large, encoding: 'text' });
  await appendAll(broker, log, 2, 2);

  assert.ok((await recorder.count(2))[0]?.data === large, 'A tail must deliver large data unchanged');
  const [read] = await broker.read(log, 0, 1);
  assert.ok(read?.data === large, 'read() must return large data unchanged');
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

async function acceptsRawEntries(context: ContractContext, appendRaw: AppendRaw): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);
  const all = [entry(1), ...ENTRIES, entry(2)];
  const began = Date.now();

  await broker.append(log, entry(1));
  for (const each of ENTRIES) {
    await appendRaw(log, each);
  }
  const { offset } = await broker.append(log, entry(2));

  assert.equal(offset, all.length);
  for (const records of [await recorder.count(all.length), await readAll(broker, log)]) {
    assert.deepEqual(records.map(entryOf), all.map(entryOf));
    assert.deepEqual(
      records.map((record) => record.offset),
      range(1, all.length),
    );
    assert.ok(records.every(({ epoch, time }) => epoch === recorder.start.epoch && Math.abs(time - began) < 60_000));
  }
}

const CASES: readonly Case[] = [
  ['append() resolves to the position of the entry: offsets count up from 1 within one epoch', resolvesToPositions],
  ['append() keeps the order of calls that do not await each other', keepsOrderOfCalls],
  [
    'append() puts the entries of concurrent publishers in one order that is the same for all clients',
    ordersConcurrentPublishers,
  ],
  [
    'append() stores every field of an entry unchanged: all encodings, Unicode, empty and absent fields',
    storesEveryField,
  ],
  ['append() stores large data unchanged', storesLargeData],
  ['a log contains only the entries that were appended to it', keepsLogsApart],
];

export function appendCases({ appendRaw }: BrokerContractSetup): readonly Case[] {
  return appendRaw
    ? [
        ...CASES,
        [
          'an entry that another program has appended by the documented command is a record like any other',
          (context) => acceptsRawEntries(context, appendRaw),
        ],
      ]
    : CASES;
}
