import type { BrokerEntry, BrokerRecord } from '../broker/broker.js';
import type { Row } from './driver.js';

// Postgres cannot store NUL. It is stored as U+0001 and U+0002, and U+0001 as twice U+0001. Nearly every text has neither.
const ESCAPE = '\u0001';
const ESCAPED_NUL = '\u0001\u0002';

/** Returns the text that is stored for a text. */
export function storedText(text: string): string {
  return text.includes('\0') || text.includes(ESCAPE)
    ? text.replaceAll(ESCAPE, ESCAPE + ESCAPE).replaceAll('\0', ESCAPED_NUL)
    : text;
}

/** Returns the text that a stored text stands for. */
export function textOfStored(stored: string): string {
  return stored.includes(ESCAPE)
    ? stored
        .split(ESCAPE + ESCAPE)
        .map((part) => part.replaceAll(ESCAPED_NUL, '\0'))
        .join(ESCAPE)
    : stored;
}

/** The columns of {@link recordOf}, of a table or subquery `r`. */
export const COLUMNS = 'r.pos, r.time, r.encoding, r.data, r.topic, r.type, r.key, r.previous';

type Texts = (string | null)[];

/** The entries of a statement, column by column. */
export interface EntryColumns {
  readonly datas: Texts;
  readonly encodings: Texts;
  readonly topics: Texts;
  readonly types: Texts;
  readonly keys: Texts;
}

export function columnsOf(entries: readonly BrokerEntry[]): EntryColumns {
  return {
    datas: entries.map(({ data }) => storedText(data)),
    encodings: entries.map(({ encoding }) => encoding),
    topics: entries.map(({ topic }) => storedOrNull(topic)),
    types: entries.map(({ type }) => storedOrNull(type)),
    keys: entries.map(({ key }) => storedOrNull(key)),
  };
}

export function storedOrNull(text: string | undefined): string | null {
  return text === undefined ? null : storedText(text);
}

/** Returns the record of a row that has the columns {@link COLUMNS} from an index on. */
export function recordOf(row: Row, at: number, epoch: string): BrokerRecord {
  const [pos, time, encoding, data, topic, type, key, previous] = row.slice(at);
  return {
    data: textOfStored(String(data)),
    encoding: encoding === 'text' || encoding === 'base64' ? encoding : 'json',
    ...(topic !== null && { topic: textOfStored(String(topic)) }),
    ...(type !== null && { type: textOfStored(String(type)) }),
    ...(key !== null && { key: textOfStored(String(key)) }),
    epoch,
    offset: Number(pos),
    time: Number(time),
    ...(previous !== null && { previous: Number(previous) }),
  };
}
