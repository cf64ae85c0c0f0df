import type { BrokerEntry } from '../broker/broker.js';
import type { KnownLog } from './known-log.js';
import { APPEND, wholeMs } from './scripts.js';
import { addFields, addTopicFields } from './stream-id.js';
import { TOPIC_APPEND } from './topic-scripts.js';

export interface AppendCommandOptions {
  /** How long `once` of an entry is remembered, in milliseconds. */
  readonly onceWindow: number;
  /** How many records a stream keeps at least, so that tails can read them. */
  readonly tailBuffer: number;
  /** Whether a message is published with every record of a log that has one history. */
  readonly publishes: boolean;
}

/**
 * Returns the command that appends an entry to a log.
 * @param loaded whether the server knows the script of the log by its digest
 */
export function appendCommand(
  log: KnownLog,
  options: AppendCommandOptions,
  entry: BrokerEntry,
  epoch: string,
  loaded: boolean,
): string[] {
  if (log.retention.all !== undefined) {
    return topicCommand(log, options, entry, epoch, loaded);
  }
  const kept = keptBy(log, options);
  if (entry.once !== undefined || options.publishes) {
    return scriptCommand(log, options, entry, epoch, kept, loaded);
  }
  const args = ['XADD', log.keys.stream, 'NOMKSTREAM', 'MAXLEN', '~', kept, `${epoch}-*`];
  addFields(args, entry);
  return args;
}

function keptBy({ retention }: KnownLog, { tailBuffer }: AppendCommandOptions): string {
  return `${Math.max(retention.limit, tailBuffer)}`;
}

function scriptCommand(
  { keys }: KnownLog,
  { publishes, onceWindow }: AppendCommandOptions,
  entry: BrokerEntry,
  epoch: string,
  kept: string,
  loaded: boolean,
): string[] {
  const fields: string[] = [];
  addFields(fields, entry);
  // Where only some entries need the script, it is sent with them: if Redis did not know its digest, those behind would overtake them.
  const args = publishes && loaded ? ['EVALSHA', APPEND.sha] : ['EVAL', APPEND.text];
  args.push(entry.once === undefined ? '1' : '2', keys.stream);
  if (entry.once !== undefined) {
    args.push(keys.once(entry.once));
  }
  args.push(epoch, kept, publishes ? keys.stream : '', `${fields.length}`, ...fields);
  if (entry.once !== undefined) {
    args.push(`${onceWindow}`);
  }
  return args;
}

function topicCommand(
  log: KnownLog,
  options: AppendCommandOptions,
  entry: BrokerEntry,
  epoch: string,
  loaded: boolean,
): string[] {
  const { keys, retention } = log;
  const { topic = '', once } = entry;
  const all = retention.all === true;
  const args = loaded ? ['EVALSHA', TOPIC_APPEND.sha] : ['EVAL', TOPIC_APPEND.text];
  args.push(once === undefined ? '3' : '4', keys.stream, keys.index, keys.topic(topic));
  if (once !== undefined) {
    args.push(keys.once(once));
  }
  args.push(epoch, topic, `${retention.limit}`, `${wholeMs(retention.ttl)}`, all ? keptBy(log, options) : '0');
  args.push(all && options.publishes ? keys.stream : '', `${options.onceWindow}`);
  addTopicFields(args, entry);
  return args;
}
