import type { TopicPage, TopicRecords, TopicRequest } from '../broker/broker-topics.js';
import type { FoundLog, KnownLog } from './known-log.js';
import { positionOf, startOf } from './mark.js';
import { recordOf, type StoredMessage } from './message.js';
import { tokenOf } from './names.js';
import type { Session } from './session.js';
import { hasMessage } from './stream-api.js';
import { readMessages } from './stream-reader.js';

/** How often topics are read again because their oldest messages were removed meanwhile. */
const ATTEMPTS = 3;

/** Reads records of topics. */
export async function readTopics(
  session: Session,
  log: KnownLog,
  requests: readonly TopicRequest[],
  count: number,
): Promise<TopicPage> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const found = await log.find(session);
    const stored = await readStored(session, log, found, requests);
    if (await isComplete(session, log, found, stored)) {
      const topics = requests.map((request) => recordsFor(log, found, stored.get(request.topic) ?? [], request, count));
      return { position: positionOf(found.end), topics };
    }
  }
  throw new Error('records were removed faster than they could be read');
}

/** Returns the messages of the present epoch that each topic has, the oldest first. Some may have come after the end that was found. */
async function readStored(
  session: Session,
  log: KnownLog,
  { end }: FoundLog,
  requests: readonly TopicRequest[],
): Promise<ReadonlyMap<string, readonly StoredMessage[]>> {
  const stored = new Map<string, StoredMessage[]>();
  const bySubject = new Map<string, StoredMessage[]>();
  for (const { topic } of requests) {
    const messages = stored.get(topic) ?? [];
    stored.set(topic, messages);
    bySubject.set(`${log.names.subject}.t.${tokenOf(topic)}`, messages);
  }
  if (stored.size > 0) {
    await readMessages(session, log.names.stream, [...bySubject.keys()], ({ subject, seq, time, payload }) => {
      // Those after the end count too: they may have removed older ones.
      if (seq > startOf(end.seq)) {
        bySubject.get(subject)?.push({ seq, time, payload: payload.toString() });
      }
      return true;
    });
  }
  return stored;
}

/** Whether no message was removed between two that were read: the oldest is removed first. */
async function isComplete(
  session: Session,
  log: KnownLog,
  { info }: FoundLog,
  stored: ReadonlyMap<string, readonly StoredMessage[]>,
): Promise<boolean> {
  const oldest = [...stored.values()].flatMap((messages) => messages.slice(0, 1));
  const found = oldest.map(({ seq }) => hasMessage(session, log.names.stream, seq, info.config.num_replicas > 1));
  return (await Promise.all(found)).every((each) => each);
}

function recordsFor(
  { retention: { limit, ttl }, grownAt }: KnownLog,
  { info, end }: FoundLog,
  messages: readonly StoredMessage[],
  { after }: TopicRequest,
  count: number,
): TopicRecords {
  const start = startOf(end.seq);
  const offsetOf = (seq: number): number => Math.max(0, seq - start);
  const expired = Date.parse(info.ts) - ttl;
  // The oldest ones are kept only to know what was removed.
  const firstKept = messages.findIndex(({ time }, index) => index >= messages.length - limit && time > expired);
  const kept = firstKept < 0 ? messages.length : firstKept;
  const removed = messages[kept - 1]?.seq;
  const firstStored = info.state.messages === 0 ? end.seq : info.state.first_seq - 1;
  const records = messages
    .map((message, index) => recordOf({ ...message, previous: messages[index - 1]?.seq ?? 0 }, end.id))
    .slice(kept)
    .filter(({ offset }) => offset > after && offset <= offsetOf(end.seq));
  return {
    records: records.slice(0, count),
    more: records.length > count,
    completeAfter: offsetOf(Math.min(end.seq, removed ?? Math.max(firstStored, grownAt))),
  };
}
