import type { Session } from './session.js';
import { call } from './stream-api.js';

/** How many messages are asked for at once, and how many bytes they may have. */
const BATCH = 256;
const BATCH_BYTES = 4 * 1024 * 1024;
/** How long JetStream keeps a reader that was not deleted, in nanoseconds. */
const READER_NS = 10_000_000_000;

/** A message that was read. */
export interface ReadMessage {
  readonly subject: string;
  readonly seq: number;
  /** In milliseconds since 1970. */
  readonly time: number;
  readonly payload: Buffer;
}

/**
 * Reads all messages with some subjects that are in a stream now, the oldest first, by a consumer that exists as long as that.
 * @param onMessage returns whether it wants more
 */
export async function readMessages(
  session: Session,
  stream: string,
  subjects: readonly string[],
  onMessage: (message: ReadMessage) => boolean | Promise<boolean>,
): Promise<void> {
  const { name, num_pending: pending } = await startReader(session, stream, subjects);
  try {
    let left = pending;
    // Those that come while it reads are not counted: there may be no end of them.
    let wanted = pending;
    while (left > 0) {
      const page = await receive(session, `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`);
      left = page.left;
      for (const message of page.messages) {
        if (!(await onMessage(message)) || --wanted === 0) {
          return;
        }
      }
    }
  } finally {
    if (session.usable) {
      session.forget(session.send(`$JS.API.CONSUMER.DELETE.${stream}.${name}`, '', IGNORED));
    }
  }
}

/** Creates a consumer, which the server deletes after a while if this process does not. */
function startReader(
  session: Session,
  stream: string,
  subjects: readonly string[],
): Promise<{ readonly name: string; readonly num_pending: number }> {
  const [subject] = subjects;
  const config = {
    deliver_policy: 'all',
    ack_policy: 'none',
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: READER_NS,
    ...(subjects.length === 1 ? { filter_subject: subject } : { filter_subjects: subjects }),
  };
  return call(session, `CONSUMER.CREATE.${stream}`, { stream_name: stream, config });
}

const IGNORED = {
  onReply: () => undefined,
  onNoResponders: () => undefined,
  onRefused: () => undefined,
  onLost: () => undefined,
};

/** Receives the next messages of a reader. @returns them, and how many are left */
async function receive(
  session: Session,
  next: string,
): Promise<{ readonly messages: readonly ReadMessage[]; readonly left: number }> {
  const messages: ReadMessage[] = [];
  const request = JSON.stringify({ batch: BATCH, max_bytes: BATCH_BYTES, no_wait: true });
  let left = 0;
  await session.requestMany(next, request, ({ subject, headers, reply = '', data }) => {
    // The end has a status instead of a reply subject.
    if (headers && headers.code > 0) {
      // Without a message, there is none, although some were counted.
      left = messages.length === 0 ? 0 : left;
      return false;
    }
    // $JS.ACK.[domain.account.]stream.consumer.delivered.sequence.….time.pending
    const tokens = reply.split('.');
    const shift = tokens.length > 9 ? 2 : 0;
    // In nanoseconds: too large for a number.
    const time = Number(tokens[7 + shift]?.slice(0, -6));
    left = Number(tokens[8 + shift]);
    messages.push({ subject, seq: Number(tokens[5 + shift]), time, payload: Buffer.from(data) });
    return messages.length < BATCH && left > 0;
  });
  return { messages, left };
}
