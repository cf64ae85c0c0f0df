import type { BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';

export { countAfter } from '../broker/page-size.js';

// The id of an entry of a stream is its position in the log: `<epoch>-<offset>`.

/** Returns the position that an id of a stream stands for. */
export function positionOf(id: string): BrokerPosition {
  const dash = id.indexOf('-');
  return { epoch: id.slice(0, dash), offset: Number(id.slice(dash + 1)) };
}

export function streamIdOf({ epoch, offset }: BrokerPosition): string {
  return `${epoch}-${offset}`;
}

/** Returns whether an epoch began after another one. Epochs are decimal numbers, too large for a number of JavaScript. */
export function isLater(epoch: string, other: string): boolean {
  return epoch.length === other.length ? epoch > other : epoch.length > other.length;
}

/**
 * Adds the fields of an entry to the arguments of a command. The order of the fields is always the same, because Redis stores equal lists of
 * fields only once.
 */
export function addFields(args: string[], entry: BrokerEntry): void {
  args.push('d', entry.data, 'e', entry.encoding);
  if (entry.topic !== undefined) {
    args.push('o', entry.topic);
  }
  addLabels(args, entry);
  args.push('s', `${Date.now()}`);
}

/** Adds the fields of an entry of a topic. The script adds the others. */
export function addTopicFields(args: string[], entry: BrokerEntry): void {
  args.push('d', entry.data, 'e', entry.encoding);
  addLabels(args, entry);
}

function addLabels(args: string[], entry: BrokerEntry): void {
  if (entry.type !== undefined) {
    args.push('y', entry.type);
  }
  if (entry.key !== undefined) {
    args.push('k', entry.key);
  }
}

/** A record as it is built: its fields may come in any order. */
type Draft = { -readonly [Key in keyof BrokerRecord]: BrokerRecord[Key] };

/**
 * Returns the record of an entry of a stream. Fields that other programs have added are left out. The time of an entry without one is now.
 * @param topic that of the entry, if it has no field for it
 */
export function recordOf(id: string, fields: readonly string[], topic?: string): BrokerRecord {
  const { epoch, offset } = positionOf(id);
  const record: Draft = { data: '', encoding: 'json', epoch, offset, time: Date.now() };
  if (topic !== undefined) {
    record.topic = topic;
  }
  for (let i = 0; i + 1 < fields.length; i += 2) {
    setField(record, fields[i], fields[i + 1] as string);
  }
  return record;
}

function setField(record: Draft, name: string | undefined, value: string): void {
  switch (name) {
    case 'd':
      record.data = value;
      break;
    case 'e':
      record.encoding = value === 'text' || value === 'base64' ? value : 'json';
      break;
    case 'o':
      record.topic = value;
      break;
    case 'y':
      record.type = value;
      break;
    case 'k':
      record.key = value;
      break;
    case 'p':
      // Negative if the record before it is not known.
      record.previous = Math.max(0, Number(value));
      break;
    case 's':
      record.time = Number(value) || record.time;
      break;
  }
}

/** Entries as Redis returns them: pairs of an id and a list of fields. */
export type StreamEntries = readonly (readonly [id: string, fields: readonly string[]])[];

/** @param topic that of the entries, if they have no field for it */
export function recordsOf(entries: StreamEntries, topic?: string): BrokerRecord[] {
  return entries.map(([id, fields]) => recordOf(id, fields, topic));
}

/**
 * Returns the record of a message: a JSON array of the id and the fields. Returns `undefined` for other messages.
 * @param topic that of the record, if it has no field for it
 */
export function recordIn(message: string, topic?: string): BrokerRecord | undefined {
  try {
    const [id, ...fields] = JSON.parse(message) as string[];
    return id === undefined ? undefined : recordOf(id, fields, topic);
  } catch {
    return undefined;
  }
}
