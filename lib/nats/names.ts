import { createHash } from 'node:crypto';

/** Names that are readable in subjects and in names of streams. In lower case, because a server may keep streams in folders that ignore the case. */
const PLAIN = /^[a-z0-9][a-z0-9-]{0,63}$/;
const LONGEST_BYTES = 60;
const DIGITS = 'abcdefghijklmnopqrstuvwxyz234567';

/** The names of the stream and the subjects of a log. */
export interface LogNames {
  readonly stream: string;
  /** The subject that entries are published to. In a log of topics, more tokens follow. */
  readonly subject: string;
  /** All subjects of the stream. */
  readonly all: string;
  /** All subjects that the stream has if the log is of the other kind: with a history for each topic, or without. */
  readonly otherKind: string;
  /** The stream publishes its messages again to this subject, one token (see {@link KnownLog}), and what follows `subject`. */
  readonly tail: string;
}

/**
 * Returns the names of a log.
 * @param perTopic whether it is a log of topics. The stream has the same name, so that only one of both kinds can exist
 */
export function logNames(prefix: string, log: string, perTopic = false): LogNames {
  const token = tokenOf(log);
  const stream = `${prefix}_${token}`;
  const hub = `${prefix}.hub.${token}`;
  const topic = `${prefix}.topic.${token}`;
  return perTopic
    ? { stream, subject: topic, all: `${topic}.>`, otherKind: hub, tail: `${prefix}.topictail.${token}` }
    : { stream, subject: hub, all: hub, otherKind: `${topic}.>`, tail: `${prefix}.tail.${token}` };
}

/** Returns a token of a subject for any text. It differs for different texts, and never begins with `_0`. */
export function tokenOf(text: string): string {
  if (PLAIN.test(text)) {
    return text;
  }
  const bytes = Buffer.from(text);
  return bytes.length > LONGEST_BYTES ? `__${createHash('sha256').update(bytes).digest('hex')}` : `_${base32(bytes)}`;
}

function base32(bytes: Uint8Array): string {
  let text = '';
  let buffer = 0;
  let bits = 0;
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += DIGITS.charAt((buffer >> bits) & 31);
    }
    buffer &= (1 << bits) - 1;
  }
  return bits > 0 ? text + DIGITS.charAt((buffer << (5 - bits)) & 31) : text;
}
