import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { range } from './entries.js';
import {
  appendTopic,
  dataFrom,
  dataOf,
  KEEP_TOPICS,
  requireTopics,
  type TopicBroker,
  topicBroker,
  topicClients,
  topicEntry,
} from './topic-logs.js';
import { TopicRecorder } from './topic-recorder.js';

type Hook<K extends keyof BrokerContractSetup> = NonNullable<BrokerContractSetup[K]>;

/** Appends an entry to the topic `probe` until the broker takes it. */
async function untilBack(context: ContractContext, broker: TopicBroker, log: string): Promise<void> {
  await context.until('append() works again', () =>
    broker.append(log, topicEntry('probe', 0)).then(
      () => true,
      () => false,
    ),
  );
}

async function continuesAfterCut(context: ContractContext, cut: Hook<'cut'>): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  const { offset } = await recorder.add('a', 'b');
  await appendTopic(publisher, log, 'a', 1, 3);
  await recorder.count(3);

  await cut(reader);
  const during = await appendTopic(publisher, log, 'a', 4, 6);
  // Nothing follows, and the listener must know nevertheless.
  await recorder.reaches(during.at(-1) ?? recorder.at);
  await appendTopic(publisher, log, 'b', 7, 8);
  const [last] = await appendTopic(publisher, log, 'a', 9, 9);
  assert.ok(last);
  await recorder.reaches(last);

  recorder.assertOrdered();
  recorder.assertComplete('a', offset);
  recorder.assertComplete('b', offset);
  const missed = recorder.missed.at(-1)?.offset ?? offset;
  const after = await recorder.read('a', missed);
  assert.deepEqual(
    recorder.records.filter((record) => record.topic === 'a' && record.offset > missed).map((record) => record.offset),
    after.map((record) => record.offset),
    'Everything after the position of onMissed() must be delivered',
  );
}

async function addsAfterCut(context: ContractContext, cut: Hook<'cut'>): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add('a');

  for (const n of range(1, 5)) {
    await cut(reader);
    await recorder.add(`topic ${n}`);
  }
  await appendTopic(publisher, log, 'a', 1, 1);
  const [last] = await appendTopic(publisher, log, 'topic 5', 2, 2);
  assert.ok(last);
  await recorder.reaches(last);
  await context.until('A topic that was added after a lost connection is delivered', async () =>
    [...recorder.records, ...(await recorder.read('topic 5', 0))].some(({ topic }) => topic === 'topic 5'),
  );
  recorder.assertOrdered();
}

async function beginsNewEpoch(context: ContractContext, lose: Hook<'lose'>): Promise<void> {
  const { clients, log } = await topicClients(context, 1);
  const [broker] = clients as [TopicBroker];
  const recorder = await TopicRecorder.begin(context, broker, log);
  await recorder.add('a');
  await appendTopic(broker, log, 'a', 1, 3);
  await recorder.count(3);
  const { epoch } = recorder;

  await lose(log);
  const positions = await appendTopic(broker, log, 'a', 4, 5);
  await recorder.reaches(positions.at(-1) ?? recorder.at);

  assert.ok(
    positions.every((position) => position.epoch !== epoch),
    'A log that was lost must begin a new epoch',
  );
  assert.deepEqual(dataOf(await broker.readTopics(log, [{ topic: 'a', after: 0 }], 10)), dataFrom(4, 5));
  assert.ok(
    recorder.missed.some((position) => position.epoch !== epoch),
    'onMissed() must be called with the position in the new epoch',
  );
  recorder.assertOrdered();
}

async function beginsNewEpochAfterRestart(context: ContractContext, restart: Hook<'restart'>): Promise<void> {
  const broker = await topicBroker(context);
  const log = context.newLog();
  await broker.openTopics(log, KEEP_TOPICS);
  const [first] = await appendTopic(broker, log, 'a', 1, 1);

  const restarted = requireTopics(await context.restarted(restart));
  await restarted.openTopics(log, KEEP_TOPICS);
  const [second] = await appendTopic(restarted, log, 'a', 2, 2);

  assert.notEqual(second?.epoch, first?.epoch);
  assert.deepEqual(dataOf(await restarted.readTopics(log, [{ topic: 'a', after: 0 }], 10)), dataFrom(2, 2));
}

async function tellsOfRewind(context: ContractContext, rewind: Hook<'rewind'>): Promise<void> {
  const { clients, log } = await topicClients(context, 2);
  const [publisher, reader] = clients as [TopicBroker, TopicBroker];
  const recorder = await TopicRecorder.begin(context, reader, log);
  await recorder.add('a');
  await appendTopic(publisher, log, 'a', 1, 5);
  await recorder.count(5);
  const { epoch } = recorder;

  await rewind(log, 2);
  await recorder.leavesEpoch(epoch);
  await untilBack(context, publisher, log);
  const [position] = await appendTopic(publisher, log, 'a', 6, 6);
  assert.ok(position);
  await recorder.reaches(position);

  assert.notEqual(position.epoch, epoch, 'A log that has lost its newest records must begin a new epoch');
  assert.deepEqual(dataOf(await publisher.readTopics(log, [{ topic: 'a', after: 0 }], 10)), dataFrom(6, 6));
  recorder.assertOrdered();
}

async function settlesInTime(
  context: ContractContext,
  freezing: Required<Pick<BrokerContractSetup, 'freeze' | 'thaw'>>,
): Promise<void> {
  const { clients, log } = await topicClients(context, 1);
  const [broker] = clients as [TopicBroker];
  const recorder = await TopicRecorder.begin(context, broker, log);
  const tail = await broker.tailTopics(log, { onRecords: noop, onReached: noop, onMissed: noop });
  await recorder.add('a');
  await appendTopic(broker, log, 'a', 1, 2);
  await recorder.count(2);

  await context.whileFrozen(freezing, async () => {
    const outcomes = await context.within(
      Promise.allSettled([
        tail.add(['b']),
        broker.readTopics(log, [{ topic: 'a', after: 0 }], 1),
        broker.append(log, topicEntry('a', 3)),
      ]),
      'add(), readTopics() and append() settle while the store does not answer',
    );
    for (const outcome of outcomes) {
      const code: unknown = outcome.status === 'rejected' ? outcome.reason?.code : undefined;
      assert.ok(
        outcome.status === 'fulfilled' ||
          ['broker-unavailable', 'publish-unknown', 'broker-busy'].includes(code as string),
        `A call rejected with the code ${code}`,
      );
    }
  });

  await untilBack(context, broker, log);
  const [last] = await appendTopic(broker, log, 'a', 4, 4);
  assert.ok(last);
  await recorder.reaches(last);
  recorder.assertOrdered();
}

function noop(): void {
  // Records are not looked at.
}

/** The cases in which the store or the connection to it fails. Each needs its functions of the setup. */
export function topicFaultCases({ cut, lose, restart, rewind, freeze, thaw }: BrokerContractSetup): readonly Case[] {
  const cases: Case[] = [];
  const add = <H>(
    hook: H | undefined,
    name: string,
    run: (context: ContractContext, hook: H) => Promise<void>,
  ): void => {
    if (hook) {
      cases.push([name, (context) => run(context, hook)]);
    }
  };
  add(cut, 'a tail of topics continues after a lost connection, and says what it may have missed', continuesAfterCut);
  add(cut, 'add() of a tail of topics works after each lost connection', addsAfterCut);
  add(
    lose,
    'a log of topics that is lost while it is tailed begins a new epoch, which its tails learn',
    beginsNewEpoch,
  );
  add(restart, 'a log of topics begins a new epoch after a restart in which it was lost', beginsNewEpochAfterRestart);
  add(rewind, 'a log of topics that was rewound begins a new epoch, which its tails learn', tellsOfRewind);
  add(
    freeze && thaw && { freeze, thaw },
    'a log of topics rejects in time while the store does not answer',
    settlesInTime,
  );
  return cases;
}
