import type { BrokerRecord } from '../broker/broker.js';
import type { FoundLog, KnownLog } from './known-log.js';
import { startOf } from './mark.js';
import { recordOf, type StoredMessage } from './message.js';
import type { Session } from './session.js';
import { messagesOf } from './stream-api.js';

/** About how many bytes the messages of one page have at most. */
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_MESSAGES = 512;

/** Returns the records of a hub after an offset. Those that are kept for tails only are left out. */
export async function readRecords(
  session: Session,
  log: KnownLog,
  after: number,
  count: number,
): Promise<readonly BrokerRecord[]> {
  const found = await log.find(session);
  const { id, seq: last } = found.end;
  const { limit, ttl } = log.retention;
  const expired = Date.parse(found.info.ts) - ttl;
  let seq = Math.max(startOf(last) + after, last - limit);
  while (seq < last) {
    const { messages, reached } = await readPage(session, found, seq, count);
    const kept = messages.filter(({ time }) => time > expired);
    if (kept.length > 0) {
      return kept.map((message) => recordOf(message, id));
    }
    seq = reached;
  }
  return [];
}

/**
 * Reads the messages after a sequence number, without gaps: those before a missing one are left out, since it was removed meanwhile.
 * @returns the messages, and the sequence number up to which they were read
 */
export async function readPage(
  session: Session,
  { info, end }: FoundLog,
  after: number,
  count: number,
): Promise<{ readonly messages: readonly StoredMessage[]; readonly reached: number }> {
  const { first_seq: first, messages: total, bytes } = info.state;
  const from = Math.max(after + 1, first, startOf(end.seq) + 1);
  const fitting = Math.floor((PAGE_BYTES * total) / (bytes + 1));
  const reached = Math.min(end.seq, from - 1 + Math.max(1, Math.min(count, PAGE_MESSAGES, fitting)));
  const messages = await messagesOf(session, info, from, reached);
  let start = messages.length;
  while (start > 0 && messages[start - 1]?.seq === reached - (messages.length - start)) {
    start--;
  }
  return { messages: messages.slice(start), reached };
}
