import type { BrokerEntry } from '../broker/broker.js';
import { MEMBERS } from '../event/hub-event.js';
import { isBinary, toBytes } from '../format/binary.js';
import { jsonText } from '../format/json-text.js';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import type { PublishOptions } from './hub.options.js';
import type { MemberChanges } from './members.js';
import { checkTopic } from './topic.js';

/** The types of events that hubs and streams send themselves. */
const RESERVED = new Set(['reset', 'lagged', 'position', 'shutdown', MEMBERS]);

/**
 * Returns an event as a broker stores it.
 *
 * @throws {StreamError} `not-serializable`, `invalid-topic` or `invalid-event`
 */
export function entryOf(data: unknown, { topic, type, key, once }: PublishOptions): BrokerEntry {
  if (topic !== undefined) {
    checkTopic(topic);
  }
  checkType(type);
  if (key !== undefined && typeof key !== 'string') {
    throw new StreamError('invalid-event', `The key of an event is a string, not ${typeof key}`);
  }
  const { data: text, encoding } = encodedData(data);
  // Each property by name, here and in the brokers: copying an object takes several times as long, and as much memory.
  return once === undefined
    ? { data: text, encoding, topic, type, key }
    : { data: text, encoding, topic, type, key, once };
}

/** Returns the event that says which members of a topic, or of the hub itself, have come and gone. Its type is one that users cannot publish. */
export function membersEntry(topic: string | undefined, changes: MemberChanges): BrokerEntry {
  // The topic of an event is not sent to clients, and a client of several topics needs it to tell their members apart.
  const data = topic === undefined ? changes : { topic, ...changes };
  return { ...entryOf(data, { topic }), type: MEMBERS };
}

function checkType(type: unknown): void {
  if (type === undefined) {
    return;
  }
  if (typeof type !== 'string' || /[\r\n]/.test(type)) {
    throw new StreamError(
      'invalid-event',
      `The type of an event is a string without CR or LF, not ${JSON.stringify(type)}`,
    );
  }
  if (RESERVED.has(type)) {
    throw new StreamError('invalid-event', `"${type}" is a type of the package's own events: publish another type`);
  }
}

/** Returns data as a broker stores it. */
export function encodedData(data: unknown): Pick<BrokerEntry, 'data' | 'encoding'> {
  if (typeof data === 'string') {
    return { data, encoding: 'text' };
  }
  if (isBinary(data)) {
    return { data: toBytes(data).toString('base64'), encoding: 'base64' };
  }
  try {
    return { data: jsonText(data), encoding: 'json' };
  } catch (cause) {
    throw new StreamError('not-serializable', `The published data cannot be sent: ${textOf(cause)}`, { cause });
  }
}
