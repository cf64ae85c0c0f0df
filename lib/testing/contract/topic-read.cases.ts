import assert from 'node:assert/strict';
import { type Case, type ContractContext, pause } from './contract-context.js';
import { range, readAll } from './entries.js';
import {
  appendTopic,
  dataFrom,
  dataOf,
  KEEP_TOPICS,
  offsetsOf,
  type TopicBroker,
  topicClients,
  topicEntry,
} from './topic-logs.js';

async function readsTopics(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const a = await appendTopic(publisher, log, 'a', 1, 3);
  const b = await appendTopic(publisher, log, 'b', 4, 5);
  const [last] = await appendTopic(publisher, log, 'a', 6, 6);
  const [a1, , a3] = offsetsOf(a);
  assert.ok(a1 && a3 && last);

  const requests = [
    { topic: 'a', after: 0 },
    { topic: 'none', after: 0 },
    { topic: 'b', after: 0 },
    { topic: 'a', after: a1 },
    { topic: 'a', after: last.offset },
  ];

  const { position, topics } = await reader.readTopics(log, requests, 3);

  assert.deepEqual(
    { ...position },
    { epoch: last.epoch, offset: last.offset },
    'The position must be the end of the log',
  );
  const [first, none, other, rest, end] = topics;
  assert.deepEqual(offsetsOf(first?.records ?? []), offsetsOf(a), 'At most `count` records, the oldest first');
  assert.deepEqual(offsetsOf(other?.records ?? []), offsetsOf(b));
  assert.deepEqual(offsetsOf(rest?.records ?? []), [...offsetsOf(a).slice(1), last.offset]);
  assert.deepEqual(
    rest?.records.map(({ previous }) => previous),
    [a1, ...offsetsOf(a).slice(1)],
  );
  assert.deepEqual([none?.records, end?.records], [[], []]);
  for (const [at, { completeAfter }] of topics.entries()) {
    assert.ok(completeAfter <= (requests[at]?.after ?? 0), 'No record was removed, so every topic is complete');
  }
  const empty = await reader.readTopics(log, [], 1);
  assert.deepEqual([{ ...empty.position }, empty.topics], [{ ...position }, []]);
}

async function saysWhetherThereIsMore(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 1);
  const [broker] = clients as [TopicBroker];
  const positions = await appendTopic(broker, log, 'a', 1, 4);
  const requests = [0, ...offsetsOf(positions)].map((after) => ({ topic: 'a', after }));

  const { topics } = await broker.readTopics(log, [...requests, { topic: 'none', after: 0 }], 3);

  assert.deepEqual(
    topics.map(({ more }) => more),
    [true, false, false, false, false, false],
    '`more` must say whether a topic has records after those that were returned',
  );
}

async function storesEveryField(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 1);
  const [broker] = clients as [TopicBroker];
  const entries = [
    { data: '{"a":"ü\u0000\u2028😀"}', encoding: 'json', topic: 't', type: 'price', key: 'k\u0000y' },
    { data: 'text\r\n\u0000', encoding: 'text', topic: 't' },
    { data: 'AAEC/w==', encoding: 'base64', topic: 't' },
    { data: 'x'.repeat(100_000), encoding: 'text', topic: 't' },
  ] as const;
  for (const each of entries) {
    await broker.append(log, each);
  }

  const { topics } = await broker.readTopics(log, [{ topic: 't', after: 0 }], 10);

  assert.deepEqual(
    topics[0]?.records.map(({ data, encoding, topic, type, key }) => ({ data, encoding, topic, type, key })),
    entries.map((each) => ({ type: undefined, key: undefined, ...each })),
  );
}

async function limitsEachTopic(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 1, { limit: 5 });
  const [broker] = clients as [TopicBroker];
  const [quiet] = await appendTopic(broker, log, 'quiet', 1, 1);
  const busy = await appendTopic(broker, log, 'busy', 1, 50);

  const page = await broker.readTopics(
    log,
    [
      { topic: 'busy', after: 0 },
      { topic: 'quiet', after: 0 },
      { topic: 'busy', after: busy.at(-2)?.offset ?? 0 },
    ],
    10,
  );

  const [ofBusy, ofQuiet, ofEnd] = page.topics;
  assert.deepEqual(dataOf(page), dataFrom(46, 50), 'A topic must keep its newest `limit` records');
  assert.equal(
    ofBusy?.completeAfter,
    busy[44]?.offset,
    '`completeAfter` must be the offset of the newest removed record',
  );
  assert.equal(ofBusy?.records[0]?.previous, busy[44]?.offset);
  assert.deepEqual(
    offsetsOf(ofQuiet?.records ?? []),
    [quiet?.offset],
    'A busy topic must not evict the records of another',
  );
  assert.equal(ofQuiet?.completeAfter, 0);
  assert.ok((ofEnd?.completeAfter ?? Infinity) <= (busy.at(-2)?.offset ?? 0));
}

async function expiresRecords(context: ContractContext): Promise<void> {
  const ttl = 400;
  const { clients, log } = await topicClients(context, 1, { ttl });
  const [broker] = clients as [TopicBroker];
  const [old] = await appendTopic(broker, log, 'old', 1, 1);
  assert.ok(old);
  const read = (): ReturnType<TopicBroker['readTopics']> =>
    broker.readTopics(
      log,
      ['old', 'new', 'none'].map((topic) => ({ topic, after: 0 })),
      10,
    );
  await context.until('Records expire after `ttl`', async () => dataOf(await read()).length === 0);
  const [recent] = await appendTopic(broker, log, 'new', 1, 1);
  assert.ok(recent);

  const { position, topics } = await read();

  const [ofOld, , ofNone] = topics;
  assert.deepEqual(ofOld?.records, []);
  assert.ok((ofOld?.completeAfter ?? 0) >= old.offset, 'A topic whose record has expired must not count as complete');
  for (const each of [ofOld, ofNone]) {
    assert.ok(
      (each?.completeAfter ?? Infinity) <= position.offset,
      'A reader that is at the end of the log has missed nothing',
    );
  }
}

async function isCompleteForHours(context: ContractContext): Promise<void> {
  const ttl = 300;
  const { clients, log } = await topicClients(context, 1, { ttl });
  const [broker] = clients as [TopicBroker];
  await appendTopic(broker, log, 'a', 1, 3);
  await pause(ttl * 4);

  const { position, topics } = await broker.readTopics(
    log,
    [
      { topic: 'a', after: 0 },
      { topic: 'b', after: 0 },
    ],
    10,
  );

  for (const { records, completeAfter } of topics) {
    assert.deepEqual(records, []);
    assert.ok(completeAfter <= position.offset, 'A quiet log is complete for a reader that is at its end');
  }
  // The newest record before it has expired, but a reader that was at the end still misses nothing.
  await appendTopic(broker, log, 'a', 4, 4);
  const later = await broker.readTopics(log, [{ topic: 'a', after: position.offset }], 10);
  assert.deepEqual(dataOf(later), dataFrom(4, 4));
  assert.ok((later.topics[0]?.completeAfter ?? Infinity) <= position.offset);
}

async function takesTheNewestRetention(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2, { limit: 3 });
  const [broker, other] = clients as [TopicBroker, TopicBroker];
  await appendTopic(broker, log, 'a', 1, 5);

  await other.openTopics(log, { ...KEEP_TOPICS, limit: 6 });
  await appendTopic(other, log, 'a', 6, 9);

  const data = dataOf(await other.readTopics(log, [{ topic: 'a', after: 0 }], 100));
  assert.deepEqual(data, dataFrom(4, 9), 'The newest openTopics() decides how many records are kept');
}

async function keepsTheWhole(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2, { all: true });
  const [broker, other] = clients as [TopicBroker, TopicBroker];
  const recorder = await context.recordTail(other, log);
  await appendTopic(broker, log, 'a', 1, 2);
  await appendTopic(broker, log, 'b', 3, 5);
  await appendTopic(broker, log, 'a', 6, 6);

  await recorder.count(6);
  for (const records of [recorder.records, await readAll(other, log)]) {
    assert.deepEqual(offsetsOf(records), range(1, 6), 'With `all`, offsets must count up from 1, without gaps');
    assert.deepEqual(
      records.map(({ topic, data }) => [topic, data]),
      [
        ...dataFrom(1, 2).map((data) => ['a', data]),
        ...dataFrom(3, 5).map((data) => ['b', data]),
        ...dataFrom(6, 6).map((data) => ['a', data]),
      ],
    );
  }
  const { topics } = await other.readTopics(log, [{ topic: 'a', after: 0 }], 10);
  assert.deepEqual(offsetsOf(topics[0]?.records ?? []), [1, 2, 6]);
}

async function appendsOnce(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [broker, other] = clients as [TopicBroker, TopicBroker];
  if (broker.onceWindow === undefined) {
    return;
  }
  const entry = { ...topicEntry('a', 1), once: 'first' };

  const [first, second] = [await broker.append(log, entry), await other.append(log, entry)];
  await other.append(log, topicEntry('a', 2));

  assert.deepEqual({ ...second }, { ...first });
  assert.deepEqual(dataOf(await other.readTopics(log, [{ topic: 'a', after: 0 }], 10)), dataFrom(1, 2));
}

export const TOPIC_READ_CASES: readonly Case[] = [
  ['readTopics() returns the records of each topic after an offset, the oldest first', readsTopics],
  ['readTopics() says whether a topic has more records than it has returned', saysWhetherThereIsMore],
  ['a log of topics stores every field of an entry unchanged', storesEveryField],
  ['a log of topics keeps the newest `limit` records of each topic', limitsEachTopic],
  ['a log of topics keeps records for `ttl`, and says which topics have lost some', expiresRecords],
  [
    'a log of topics that is quiet for longer than `ttl` is complete for readers that are at its end',
    isCompleteForHours,
  ],
  ['openTopics() of a log that is open changes its retention', takesTheNewestRetention],
  ['a log of topics with `all` can also be tailed and read as a whole', keepsTheWhole],
  ['a log of topics appends entries with the same `once` once', appendsOnce],
];
