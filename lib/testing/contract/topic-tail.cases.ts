import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import { range } from './entries.js';
import { appendTopic, dataFrom, offsetsOf, type TopicBroker, topicClients, topicEntry } from './topic-logs.js';
import { TopicRecorder } from './topic-recorder.js';

async function deliversAddedTopics(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await appendTopic(publisher, log, 'a', 1, 2);
  const { offset } = await recorder.add('a', 'b');

  const a = await appendTopic(publisher, log, 'a', 3, 5);
  await appendTopic(publisher, log, 'unwanted', 1, 5);
  const b = await appendTopic(publisher, log, 'b', 1, 2);
  await recorder.count(5);
  await context.settle();

  const records = recorder.records.filter((record) => record.offset > offset);
  assert.deepEqual(
    records.map(({ topic, data }) => [topic, data]),
    [...dataFrom(3, 5).map((data) => ['a', data]), ...dataFrom(1, 2).map((data) => ['b', data])],
  );
  assert.deepEqual(offsetsOf(records), offsetsOf([...a, ...b]), 'append() must resolve to the offset of the record');
  const [first, second] = records.slice(3);
  assert.equal(first?.previous, 0, 'The first record of a topic has no previous one');
  assert.equal(
    second?.previous,
    first?.offset,
    '`previous` must be the offset of the record before, in the same topic',
  );
  recorder.assertOrdered();
}

async function addsWhileAppending(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  const topics = range(1, 5).map((n) => `topic ${n}`);
  const starts = new Map<string, number>();
  const appends = [];

  for (const topic of topics) {
    appends.push(...range(1, 40).map((n) => publisher.append(log, topicEntry(topics[n % 5] as string, n))));
    starts.set(topic, (await recorder.add(topic)).offset);
  }
  appends.push(...topics.map((topic) => publisher.append(log, topicEntry(topic, 41))));
  const positions = await Promise.all(appends);
  const last = positions.reduce((a, b) => (a.offset > b.offset ? a : b));
  await recorder.reaches(last);

  recorder.assertOrdered();
  for (const [topic, start] of starts) {
    const expected = (await recorder.read(topic, start)).map(({ offset }) => offset);
    assert.deepEqual(
      offsetsOf(recorder.records.filter((record) => record.topic === topic && record.offset > start)),
      expected,
      `All records of the topic "${topic}" after the position of add() must be delivered`,
    );
  }
}

async function addIsABarrier(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add('busy');

  const appends = [];
  for (const n of range(1, 20)) {
    appends.push(...range(1, 10).map((each) => publisher.append(log, topicEntry('busy', 10 * n + each))));
    const position = await recorder.add(`other ${n}`);
    const delivered = recorder.records.map(({ offset }) => offset);
    const stored = (await recorder.read('busy')).map(({ offset }) => offset);
    assert.deepEqual(
      delivered.filter((offset) => offset <= position.offset),
      stored.filter((offset) => offset <= position.offset),
      'When add() resolves to a position, the records up to it of the earlier topics must have been delivered',
    );
  }
  await Promise.all(appends);
  await recorder.count(200);
  recorder.assertOrdered();
}

async function deletesTopics(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  const other = await TopicRecorder.begin(context, reader, log);
  await recorder.add('a', 'b');
  await other.add('a', 'b');
  const [, second] = await appendTopic(publisher, log, 'a', 1, 2);
  await recorder.count(2);

  recorder.delete('a');
  await appendTopic(publisher, log, 'a', 3, 4);
  await appendTopic(publisher, log, 'b', 5, 5);
  await recorder.count(3);
  await other.count(5);
  const { offset } = await recorder.add('a');
  await appendTopic(publisher, log, 'a', 6, 6);
  await other.count(6);
  await recorder.count(4);
  await context.settle();

  const received = recorder.records.filter(
    (record) => record.topic === 'b' || record.offset <= (second?.offset ?? 0) || record.offset > offset,
  );
  assert.deepEqual(
    received.map(({ data }) => data),
    [...dataFrom(1, 2), ...dataFrom(5, 6)],
  );
  assert.deepEqual(
    other.records.map(({ data }) => data),
    dataFrom(1, 6),
  );
}

async function endsDeletedTopics(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add('deleted', 'kept');
  const count = (): number => recorder.records.filter(({ topic }) => topic === 'deleted').length;

  recorder.delete('deleted');

  await context.until('The records of a topic that was deleted are not delivered any more', async () => {
    const before = count();
    await appendTopic(publisher, log, 'deleted', 1, 2);
    const [last] = await appendTopic(publisher, log, 'kept', 3, 3);
    assert.ok(last);
    await recorder.reaches(last);
    return count() === before;
  });
}

async function addsAgainAtOnce(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add('a', 'b');

  for (const n of range(1, 5)) {
    const inFlight = ['a', 'b', 'a'].map((topic) => publisher.append(log, topicEntry(topic, n)));
    recorder.delete('a');
    const { offset } = await recorder.add('a');
    await Promise.all(inFlight);
    await context.settle();
    const [last] = await appendTopic(publisher, log, 'a', n, n);
    assert.ok(last);
    await recorder.reaches(last);
    assert.deepEqual(
      offsetsOf(recorder.records.filter((record) => record.topic === 'a' && record.offset > offset)),
      offsetsOf(await recorder.read('a', offset)),
      'All records after the position of add() must be delivered, also if the topic was deleted just before',
    );
  }
  recorder.assertOrdered();
}

async function stops(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const stopped = await TopicRecorder.begin(context, reader, log);
  const other = await TopicRecorder.begin(context, reader, log);
  await stopped.add('a');
  await other.add('a');
  await appendTopic(publisher, log, 'a', 1, 2);
  await stopped.count(2);

  const inFlight = publisher.append(log, topicEntry('a', 3));
  const stopping = stopped.stop();
  const { length } = stopped.records;
  await stopping;
  await inFlight;
  await appendTopic(publisher, log, 'a', 4, 4);
  await other.count(4);
  await context.settle();

  assert.equal(stopped.records.length, length, 'A tail must deliver nothing once stop() was called');
}

async function reachesQuietTopics(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add('quiet');

  const [, , last] = await appendTopic(publisher, log, 'busy', 1, 3);
  assert.ok(last);
  await recorder.reaches(last);

  assert.deepEqual(recorder.records, []);
}

async function hasManyTopics(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  const topics = range(1, 1_200).map((n) => `topic ${n}`);

  await Promise.all([recorder.add(...topics.slice(0, 800)), ...topics.slice(800).map((topic) => recorder.add(topic))]);
  await Promise.all(topics.map((topic, n) => publisher.append(log, topicEntry(topic, n))));
  await recorder.count(topics.length);

  assert.deepEqual(recorder.records.map(({ topic }) => topic).sort(), [...topics].sort());
  recorder.assertOrdered();
}

const NAMES = [
  'a',
  'A',
  ' ',
  'a b',
  'a.b',
  '*',
  '>',
  '#',
  '{x}',
  'a/b',
  '$x',
  '%25',
  'ü',
  '日本',
  '😀',
  '\\',
  '"',
  "'",
  'x'.repeat(1_024),
];

async function keepsNamesApart(context: ContractContext): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add(...NAMES);

  await Promise.all(NAMES.map((topic, n) => publisher.append(log, topicEntry(topic, n))));
  await recorder.count(NAMES.length);
  await context.settle();

  assert.deepEqual(recorder.records.map(({ topic }) => topic).sort(), [...NAMES].sort());
  for (const [n, topic] of NAMES.entries()) {
    const records = await recorder.read(topic);
    assert.deepEqual(
      records.map((record) => [record.topic, record.data]),
      [[topic, topicEntry(topic, n).data]],
    );
  }
}

export const TOPIC_TAIL_CASES: readonly Case[] = [
  ['tailTopics() delivers the records of the added topics, each once, in order, and no others', deliversAddedTopics],
  ['add() of a tail of topics misses no record after its position while others append', addsWhileAppending],
  ['add() of a tail of topics resolves when the records up to its position were delivered', addIsABarrier],
  ['delete() of a tail of topics ends a topic for this tail, until it is added again', deletesTopics],
  ['delete() of a tail of topics ends the delivery of their records', endsDeletedTopics],
  ['a topic that is deleted and added again at once is delivered, whatever is in flight', addsAgainAtOnce],
  ['tailTopics() delivers nothing once stop() was called, and everything to the others', stops],
  ['tailTopics() tells a tail whose topics are quiet how far the log is', reachesQuietTopics],
  ['tailTopics() delivers 1 200 topics that are added at once', hasManyTopics],
  ['topics are kept apart by their names, with any characters', keepsNamesApart],
];
