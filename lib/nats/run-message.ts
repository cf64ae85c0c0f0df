import type { BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';

/**
 * What the first line of a message of a run says. A message has all entries of one call or of several, so that they are appended together: after the line, their data, one
 * behind the other.
 */
export interface RunHead {
  /** The epoch. */
  readonly p: string;
  /** The offset of the first entry, or of the next one if there is none. */
  readonly n: number;
  /** When the log expires, in milliseconds since 1970 on the clock of the server. */
  readonly x: number;
  /** The entries, with the length of their data. Without any, the message only changes when the log expires. */
  readonly e: readonly RunField[];
  /** The sequence numbers of the messages that have the data, if it is too large for this one. */
  readonly s?: readonly number[];
}

/** An entry without its data: see the first line of a message of a hub. */
interface RunField {
  readonly e: BrokerEntry['encoding'];
  readonly o?: string;
  readonly y?: string;
  readonly k?: string;
  /** How many characters its data has. */
  readonly l: number;
}

export function fieldOf({ data, encoding, topic, type, key }: BrokerEntry): RunField {
  return {
    e: encoding,
    ...(topic !== undefined && { o: topic }),
    ...(type !== undefined && { y: type }),
    ...(key !== undefined && { k: key }),
    l: data.length,
  };
}

/** Returns where a log ends after a message. */
export function endAfter({ p, n, e }: RunHead): BrokerPosition {
  return { epoch: p, offset: n - 1 + e.length };
}

/** Splits a payload. Returns `undefined` if no broker has published it. */
export function runHeadOf(payload: string): { readonly head: RunHead; readonly data: string } | undefined {
  try {
    const end = payload.indexOf('\n');
    const head = JSON.parse(payload.slice(0, end)) as Partial<RunHead> | null;
    return typeof head?.p === 'string' && Array.isArray(head.e)
      ? { head: head as RunHead, data: payload.slice(end + 1) }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the records of a message. */
export function runRecordsOf({ p, n, e }: RunHead, data: string, time: number): BrokerRecord[] {
  let start = 0;
  return e.map(({ e: encoding, o: topic, y: type, k: key, l: length }, index) => {
    const from = start;
    start += length;
    return {
      data: data.slice(from, start),
      encoding,
      ...(topic !== undefined && { topic }),
      ...(type !== undefined && { type }),
      ...(key !== undefined && { key }),
      epoch: p,
      offset: n + index,
      time,
    };
  });
}
