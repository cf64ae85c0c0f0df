import type { TopicPage, TopicRequest } from '../broker/broker-topics.js';
import type { Connection } from './connection.js';
import type { KnownLog } from './known-log.js';
import { wholeMs } from './scripts.js';
import { positionOf, recordsOf, type StreamEntries } from './stream-id.js';
import { TOPIC_READ } from './topic-scripts.js';

/** About how many characters the records of one answer have at most. Each topic has one record, however large it is. */
const PAGE_CHARACTERS = 4 * 1024 * 1024;

type Answer = readonly [
  id: string,
  topics: readonly (readonly [completeAfter: string, entries: StreamEntries, more: number])[],
];

/** Reads records of topics of a log. */
export async function readTopics(
  connection: Connection,
  log: KnownLog,
  requests: readonly TopicRequest[],
  count: number,
): Promise<TopicPage> {
  const { keys, retention } = log;
  const names = [keys.stream, keys.index, ...requests.map(({ topic }) => keys.topic(topic))];
  const args = [count, retention.limit, wholeMs(retention.ttl), PAGE_CHARACTERS].map(String);
  for (const { topic, after } of requests) {
    args.push(topic, `${after}`);
  }
  let answer = await connection.run(TOPIC_READ, names, ...args);
  if (answer === null) {
    // The log is lost, and begins a new epoch.
    await log.adopt(connection);
    answer = await connection.run(TOPIC_READ, names, ...args);
  }
  const [id, topics] = answer as Answer;
  const position = positionOf(id);
  log.saw(position);
  return {
    position,
    topics: topics.map(([completeAfter, entries, more], at) => ({
      completeAfter: Number(completeAfter),
      records: recordsOf(entries, requests[at]?.topic),
      more: more === 1,
    })),
  };
}
