import type { Msg } from '@nats-io/transport-node';
import type { StoredMessage } from './message.js';
import { JetStreamError } from './nats-errors.js';
import type { Session } from './session.js';

/** The configuration of a stream, as far as brokers use it. Times are in nanoseconds. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly max_msgs: number;
  readonly max_age: number;
  readonly max_msgs_per_subject: number;
  readonly discard: string;
  readonly retention: string;
  readonly storage: string;
  readonly num_replicas: number;
  readonly duplicate_window: number;
  readonly allow_direct: boolean;
  readonly republish: { readonly src: string; readonly dest: string };
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What JetStream says of a stream. */
export interface StreamInfo {
  readonly config: StreamConfig;
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_seq: number;
    readonly last_seq: number;
  };
  /** Only in a cluster. */
  readonly cluster?: { readonly leader?: string; readonly leader_since?: string };
  /** The time on the server. */
  readonly ts: string;
}

interface Failure {
  readonly error?: { readonly description: string; readonly err_code: number };
}

const NO_STREAM = 10_059;
const STREAM_EXISTS = 10_058;

/** Sends a request to JetStream. @throws {JetStreamError} if JetStream answers with an error */
export async function call<T>(session: Session, subject: string, body?: object): Promise<T> {
  const reply = await session.request(`$JS.API.${subject}`, body && JSON.stringify(body));
  return answerOf<T>(reply);
}

/** Reads the answer of JetStream. @throws {JetStreamError} */
export function answerOf<T>(message: Msg): T {
  const { error, ...answer } = message.json<Failure>();
  if (error) {
    throw new JetStreamError(error.description, error.err_code);
  }
  return answer as T;
}

/** Resolves to `undefined` if there is none. */
export async function streamInfo(session: Session, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await call<StreamInfo>(session, `STREAM.INFO.${stream}`);
  } catch (error) {
    if (error instanceof JetStreamError && error.number === NO_STREAM) {
      return undefined;
    }
    throw error;
  }
}

/** Has no effect if the stream exists. */
export async function createStream(session: Session, config: StreamConfig): Promise<void> {
  try {
    await call(session, `STREAM.CREATE.${config.name}`, config);
  } catch (error) {
    if (!(error instanceof JetStreamError && error.number === STREAM_EXISTS)) {
      throw error;
    }
  }
}

export async function updateStream(session: Session, config: StreamConfig): Promise<void> {
  await call(session, `STREAM.UPDATE.${config.name}`, config);
}

/** Removes all messages before a sequence number. If there is no message with it yet, the next one receives it. */
export async function purgeStream(session: Session, stream: string, seq: number): Promise<void> {
  await call(session, `STREAM.PURGE.${stream}`, { seq });
}

/** Returns the messages with these sequence numbers. Those that do not exist are left out. */
export async function messagesOf(
  session: Session,
  { config: { name, num_replicas: replicas } }: StreamInfo,
  first: number,
  last: number,
): Promise<StoredMessage[]> {
  const messages: Promise<StoredMessage | undefined>[] = [];
  for (let seq = first; seq <= last; seq++) {
    messages.push(messageAt(session, name, seq, replicas > 1));
  }
  return (await Promise.all(messages)).filter((each) => each !== undefined);
}

/** @param copies whether the reply may come from a server that is behind the leader. What it does not have, the leader is asked for */
async function messageAt(
  session: Session,
  stream: string,
  seq: number,
  copies: boolean,
): Promise<StoredMessage | undefined> {
  const reply = await session.request(`$JS.API.DIRECT.GET.${stream}`, `{"seq":${seq}}`);
  if (reply.headers?.code !== 404) {
    return storedMessageOf(reply);
  }
  return copies ? messageOfLeader(session, stream, seq) : undefined;
}

async function messageOfLeader(session: Session, stream: string, seq: number): Promise<StoredMessage | undefined> {
  try {
    const { message } = await call<{ readonly message: { readonly data?: string; readonly time: string } }>(
      session,
      `STREAM.MSG.GET.${stream}`,
      { seq },
    );
    return { seq, time: Date.parse(message.time), payload: Buffer.from(message.data ?? '', 'base64').toString() };
  } catch (error) {
    if (error instanceof JetStreamError) {
      return undefined;
    }
    throw error;
  }
}

/** Returns whether a stream has a message. @param copies see `messageAt()` */
export async function hasMessage(session: Session, stream: string, seq: number, copies: boolean): Promise<boolean> {
  return copies
    ? (await messageOfLeader(session, stream, seq)) !== undefined
    : (await messageAt(session, stream, seq, false)) !== undefined;
}

/** Reads a message that a stream has published again, with the one before it that has the same subject. */
export function republishedMessageOf(message: Msg): StoredMessage {
  return { ...storedMessageOf(message), previous: Number(message.headers?.get('Nats-Last-Sequence')) || 0 };
}

/** Reads a message that a stream has sent with headers. */
export function storedMessageOf(message: Msg): StoredMessage {
  const { headers } = message;
  return {
    seq: Number(headers?.get('Nats-Sequence')),
    time: Date.parse(headers?.get('Nats-Time-Stamp') ?? ''),
    payload: message.string(),
  };
}
