import type {
  BrokerTopicListener,
  BrokerTopicTail,
  TopicPage,
  TopicRecords,
  TopicRequest,
  TopicRetention,
} from '../../lib/broker/index.js';
import {
  type BrokerEntry,
  type BrokerPosition,
  type BrokerRecord,
  type BrokerTail,
  MemoryBroker,
} from '../../lib/index.js';
import { type BrokerContractSetup, brokerTopicsContract } from '../../lib/testing/index.js';
import type { Connection } from './shared-store-server.js';
import { type OpenTail, SharedTopicBroker, SharedTopicStore } from './shared-topics.js';

type Records = readonly BrokerRecord[];

const DELIVERS = 'tailTopics() delivers the records of the added topics, each once, in order, and no others';
const ADD = 'add() of a tail of topics misses no record after its position while others append';
const BARRIER = 'add() of a tail of topics resolves when the records up to its position were delivered';
const DELETE = 'delete() of a tail of topics ends a topic for this tail, until it is added again';
const DELETED = 'delete() of a tail of topics ends the delivery of their records';
const AGAIN = 'a topic that is deleted and added again at once is delivered, whatever is in flight';
const STOP = 'tailTopics() delivers nothing once stop() was called, and everything to the others';
const QUIET = 'tailTopics() tells a tail whose topics are quiet how far the log is';
const MANY = 'tailTopics() delivers 1 200 topics that are added at once';
const NAMES = 'topics are kept apart by their names, with any characters';
const READ = 'readTopics() returns the records of each topic after an offset, the oldest first';
const MORE = 'readTopics() says whether a topic has more records than it has returned';
const FIELDS = 'a log of topics stores every field of an entry unchanged';
const LIMIT = 'a log of topics keeps the newest `limit` records of each topic';
const TTL = 'a log of topics keeps records for `ttl`, and says which topics have lost some';
const QUIET_LOG = 'a log of topics that is quiet for longer than `ttl` is complete for readers that are at its end';
const RETENTION = 'openTopics() of a log that is open changes its retention';
const WHOLE = 'a log of topics with `all` can also be tailed and read as a whole';
const ONCE = 'a log of topics appends entries with the same `once` once';
const CUT = 'a tail of topics continues after a lost connection, and says what it may have missed';
const LOSE = 'a log of topics that is lost while it is tailed begins a new epoch, which its tails learn';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Its tails and pages differ from those of a broker that works. */
class Tampering extends MemoryBroker {
  override async tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    return this.tailOf(await super.tailTopics(log, this.listenerOf(listener, log)));
  }

  override async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const { position, topics } = await super.readTopics(log, requests, count);
    return { position, topics: topics.map((each) => this.topicOf(each, position)) };
  }

  protected listenerOf(listener: BrokerTopicListener, _log: string): BrokerTopicListener {
    return {
      onRecords: (records) => this.deliver(records, listener),
      onReached: (position) => listener.onReached(position),
      onMissed: (position) => listener.onMissed(position),
    };
  }

  protected deliver(records: Records, listener: BrokerTopicListener): void {
    listener.onRecords(records);
  }

  protected tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    return tail;
  }

  protected topicOf(topic: TopicRecords, _position: BrokerPosition): TopicRecords {
    return topic;
  }
}

class NamesTheRecordBefore extends Tampering {
  protected override deliver(records: Records, listener: BrokerTopicListener): void {
    listener.onRecords(records.map((record) => ({ ...record, previous: record.offset - 1 })));
  }
}

class NamesNoPrevious extends Tampering {
  protected override topicOf({ records, ...topic }: TopicRecords): TopicRecords {
    return { ...topic, records: records.map(({ previous, ...record }) => record) };
  }
}

class DeliversTwice extends Tampering {
  protected override deliver(records: Records, listener: BrokerTopicListener): void {
    listener.onRecords(records);
    listener.onRecords(records);
  }
}

class DeliversEverything extends Tampering {
  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    return { ...tail, add: (topics) => tail.add([...topics, 'unwanted']) };
  }
}

class DeliversTheNewestFirst extends Tampering {
  private waiting: BrokerRecord[] = [];

  protected override deliver(records: Records, listener: BrokerTopicListener): void {
    this.waiting.push(...records);
    setImmediate(() => {
      const waiting = this.waiting.splice(0).reverse();
      listener.onRecords(waiting);
    });
  }
}

class DeliversLater extends Tampering {
  protected override deliver(records: Records, listener: BrokerTopicListener): void {
    setImmediate(() => listener.onRecords(records));
  }
}

class ReachesTooEarly extends Tampering {
  protected override deliver(records: Records, listener: BrokerTopicListener): void {
    const last = records.at(-1);
    if (last) {
      listener.onReached(last);
    }
    listener.onRecords(records);
  }
}

class NeverReaches extends Tampering {
  protected override listenerOf(listener: BrokerTopicListener): BrokerTopicListener {
    return { ...listener, onReached: () => undefined };
  }
}

class AddsLater extends Tampering {
  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    const add = async (topics: readonly string[]): Promise<BrokerPosition> => {
      const position = await tail.add([]);
      setImmediate(() => tail.add(topics));
      return position;
    };
    return { ...tail, add };
  }
}

class AddsAPart extends Tampering {
  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    return { ...tail, add: (topics) => tail.add(topics.slice(0, 512)) };
  }
}

class DeletesNothing extends Tampering {
  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    return { ...tail, delete: () => undefined };
  }
}

class DeletesForAll extends Tampering {
  private readonly opened = new Set<BrokerTopicTail>();

  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    this.opened.add(tail);
    const remove = (topics: readonly string[]): void => {
      for (const each of this.opened) {
        each.delete(topics);
      }
    };
    return { ...tail, delete: remove };
  }
}

class DeletesLater extends Tampering {
  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    return { ...tail, delete: (topics) => void setImmediate(() => tail.delete(topics)) };
  }
}

class DoesNotStop extends Tampering {
  protected override tailOf(tail: BrokerTopicTail): BrokerTopicTail {
    return { ...tail, stop: () => undefined };
  }
}

class FoldsNames extends Tampering {
  override append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, { ...entry, topic: entry.topic?.toLowerCase() });
  }
}

class ReadsTheNewestFirst extends Tampering {
  protected override topicOf({ records, ...topic }: TopicRecords): TopicRecords {
    return { ...topic, records: [...records].reverse() };
  }
}

class ReadsTheNewest extends Tampering {
  override async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const { position, topics } = await super.readTopics(log, requests, 10_000);
    return { position, topics: topics.map(({ records, ...rest }) => ({ ...rest, records: records.slice(-count) })) };
  }
}

class ReadsAll extends Tampering {
  override readTopics(log: string, requests: readonly TopicRequest[]): Promise<TopicPage> {
    return super.readTopics(log, requests, 10_000);
  }
}

class HidesThatThereIsMore extends Tampering {
  protected override topicOf(topic: TopicRecords): TopicRecords {
    return { ...topic, more: false };
  }
}

class ReadsWithoutPosition extends Tampering {
  override async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const page = await super.readTopics(log, requests, count);
    return { ...page, position: { ...page.position, offset: 0 } };
  }
}

class EvictsOverTopics extends Tampering {
  protected override topicOf(topic: TopicRecords, { offset }: BrokerPosition): TopicRecords {
    return { ...topic, records: topic.records.filter((record) => record.offset > offset - 5) };
  }
}

class ClaimsCompleteness extends Tampering {
  protected override topicOf(topic: TopicRecords): TopicRecords {
    return { ...topic, completeAfter: 0 };
  }
}

class ForgetsCompleteness extends Tampering {
  protected override topicOf(topic: TopicRecords, { offset }: BrokerPosition): TopicRecords {
    return { ...topic, completeAfter: offset };
  }
}

class ForgetsItBeyondTheEnd extends Tampering {
  protected override topicOf(topic: TopicRecords, { offset }: BrokerPosition): TopicRecords {
    return { ...topic, completeAfter: topic.records.length > 0 ? topic.completeAfter : offset + 1 };
  }
}

class ClaimsTheExpired extends Tampering {
  protected override topicOf(topic: TopicRecords): TopicRecords {
    return { ...topic, completeAfter: topic.records.length > 0 ? topic.completeAfter : 0 };
  }
}

class DropsKeys extends Tampering {
  override append(log: string, { key, ...entry }: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, entry);
  }
}

class IgnoresOnce extends Tampering {
  override append(log: string, { once, ...entry }: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, entry);
  }
}

class KeepsItsRetention extends Tampering {
  private readonly known = new Set<string>();

  override async openTopics(log: string, retention: TopicRetention): Promise<void> {
    if (!this.known.has(log)) {
      this.known.add(log);
      await super.openTopics(log, retention);
    }
  }
}

class KeepsNoWhole extends Tampering {
  override openTopics(log: string, retention: TopicRetention): Promise<void> {
    return super.openTopics(log, { ...retention, all: false });
  }
}

class TailsNoWhole extends Tampering {
  override async tail(): Promise<BrokerTail> {
    await turn();
    return { epoch: '', offset: 0, stop: () => undefined };
  }
}

class ReportsNothingMissed extends SharedTopicBroker {
  protected override async continueTopics(tail: OpenTail, connection: Connection): Promise<void> {
    const silent = { ...tail, listener: { ...tail.listener, onMissed: () => undefined } };
    await super.continueTopics(silent, connection);
    tail.subscription = silent.subscription;
  }
}

class ForgetsItsTopics extends SharedTopicBroker {
  protected override continueTopics(tail: OpenTail, connection: Connection): Promise<void> {
    tail.wanted.clear();
    return super.continueTopics(tail, connection);
  }
}

class SilentStore extends SharedTopicStore {
  protected override onLost(): void {
    // The tails do not learn it.
  }
}

/** Runs the cases with some names. Returns the names of those that a broker fails. */
async function failed(setup: BrokerContractSetup, names: readonly string[]): Promise<string[]> {
  const contract = brokerTopicsContract({ timeout: 1_500, ...setup });
  const cases = contract.filter(({ name }) => names.includes(name));
  const outcomes = await Promise.allSettled(cases.map(({ run }) => run()));
  return cases.filter((_, index) => outcomes[index]?.status === 'rejected').map(({ name }) => name);
}

describe('The contract for topics fails for a broker that', () => {
  it.each<[string, new () => MemoryBroker, string[]]>([
    ['names the record before in the log as the previous one', NamesTheRecordBefore, [DELIVERS]],
    ['names no previous record', NamesNoPrevious, [READ]],
    ['delivers a record twice', DeliversTwice, [DELIVERS]],
    ['delivers topics that were not added', DeliversEverything, [DELIVERS]],
    ['delivers in another order', DeliversTheNewestFirst, [DELIVERS, ADD]],
    ['delivers records after add() has resolved to a later position', DeliversLater, [BARRIER]],
    ['reports a position before it delivers the records up to it', ReachesTooEarly, [DELIVERS]],
    ['does not report how far the log is', NeverReaches, [QUIET]],
    ['adds topics after the position of add()', AddsLater, [ADD]],
    ['adds only some of many topics', AddsAPart, [MANY]],
    ['delivers topics that were deleted', DeletesNothing, [DELETED]],
    ['deletes topics for other tails', DeletesForAll, [DELETE]],
    ['deletes a topic after it was added again', DeletesLater, [AGAIN]],
    ['delivers after stop()', DoesNotStop, [STOP]],
    ['confuses topics whose names are alike', FoldsNames, [NAMES]],
    ['reads the newest records first', ReadsTheNewestFirst, [READ]],
    ['skips older records when it reads a page', ReadsTheNewest, [READ]],
    ['returns more records than it was asked for', ReadsAll, [READ]],
    ['says that there is no more after a page', HidesThatThereIsMore, [MORE]],
    ['returns another position than that of the end', ReadsWithoutPosition, [READ]],
    ['evicts records because of other topics', EvictsOverTopics, [LIMIT]],
    ['claims that a topic is complete', ClaimsCompleteness, [LIMIT, TTL]],
    ['never knows that a topic is complete', ForgetsCompleteness, [READ, LIMIT]],
    ['takes quiet topics for incomplete', ForgetsItBeyondTheEnd, [QUIET_LOG]],
    ['claims that topics without records are complete', ClaimsTheExpired, [TTL]],
    ['forgets a field', DropsKeys, [FIELDS]],
    ['ignores `once`', IgnoresOnce, [ONCE]],
    ['ignores a newer retention', KeepsItsRetention, [RETENTION]],
    ['does not keep the whole log', KeepsNoWhole, [WHOLE]],
    ['does not deliver the whole log', TailsNoWhole, [WHOLE]],
  ])(
    '%s',
    async (_, Broken, names) => {
      expect(await failed({ create: () => new Broken() }, names)).toEqual(expect.arrayContaining(names));
    },
    60_000,
  );

  it.each<[string, typeof SharedTopicBroker, typeof SharedTopicStore, string[]]>([
    ['does not report what it may have missed', ReportsNothingMissed, SharedTopicStore, [CUT]],
    ['forgets its topics with the connection', ForgetsItsTopics, SharedTopicStore, [CUT]],
    ['does not report that a log was lost', SharedTopicBroker, SilentStore, [LOSE]],
  ])(
    '%s',
    async (_, Broken, Store, names) => {
      const store = new Store();
      const setup: BrokerContractSetup = {
        create: () => new Broken(store),
        shared: true,
        cut: (broker) => (broker as SharedTopicBroker).cut(),
        lose: (log) => store.lose(log),
        rewind: (log, count) => store.rewind(log, count),
      };
      expect(await failed(setup, names)).toEqual(expect.arrayContaining(names));
    },
    60_000,
  );
});
