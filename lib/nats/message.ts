import type { BrokerEntry, BrokerRecord } from '../broker/broker.js';
import { type Mark, positionOf, startOf } from './mark.js';

/** A message of a stream. */
export interface StoredMessage {
  readonly seq: number;
  /** In milliseconds since 1970. */
  readonly time: number;
  readonly payload: string;
  /** The sequence number of the message with the same subject before it, if it is known. */
  readonly previous?: number;
}

/** The first line of a payload: what an entry has besides its data. The names are those of the fields in Redis. */
interface Head {
  readonly e: BrokerEntry['encoding'];
  readonly o?: string;
  readonly y?: string;
  readonly k?: string;
}

/** Returns the payload of an entry: a line of JSON, and the data. Headers of NATS cannot have all characters that topics, types and keys may have. */
export function payloadOf({ data, encoding, topic, type, key }: BrokerEntry): string {
  const head: Head = {
    e: encoding,
    ...(topic !== undefined && { o: topic }),
    ...(type !== undefined && { y: type }),
    ...(key !== undefined && { k: key }),
  };
  return `${JSON.stringify(head)}\n${data}`;
}

/** Returns the record of a message. A payload that no broker has published is a text. */
export function recordOf({ seq, time, payload, previous }: StoredMessage, id: string): BrokerRecord {
  const mark: Mark = { id, seq };
  const end = payload.indexOf('\n');
  const head = headOf(payload.slice(0, end));
  const place = {
    ...positionOf(mark),
    time,
    ...(previous !== undefined && { previous: Math.max(0, previous - startOf(seq)) }),
  };
  return head
    ? {
        data: payload.slice(end + 1),
        encoding: head.e,
        ...(head.o !== undefined && { topic: head.o }),
        ...(head.y !== undefined && { type: head.y }),
        ...(head.k !== undefined && { key: head.k }),
        ...place,
      }
    : { data: payload, encoding: 'text', ...place };
}

function headOf(line: string): Head | undefined {
  try {
    const head = JSON.parse(line) as Partial<Record<keyof Head, unknown>> | null;
    const { e, o = '', y = '', k = '' } = head ?? {};
    const valid =
      ['json', 'text', 'base64'].includes(e as string) && [o, y, k].every((each) => typeof each === 'string');
    return valid ? (head as Head) : undefined;
  } catch {
    return undefined;
  }
}
