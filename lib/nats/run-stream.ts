import type { Msg } from '@nats-io/transport-node';
import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { RunPage } from '../broker/run-tail.js';
import type { LogSettings } from './known-log.js';
import { JetStreamError, NoRespondersError } from './nats-errors.js';
import { endAfter, type RunHead, runHeadOf, runRecordsOf } from './run-message.js';
import type { Header, Session } from './session.js';
import { answerOf, call, createStream, type StreamConfig, streamInfo } from './stream-api.js';
import { readMessages } from './stream-reader.js';

const NO_MESSAGE = 10_037;
const NO_STREAM = 10_059;
const WRONG_LAST_SEQUENCE = 10_071;
/** How many bytes of a message are not the payload. */
const HEADER_BYTES = 512;
/** Of messages with a key, which the stream does not have, in nanoseconds. */
const DUPLICATES_NS = 10_000_000_000;

/** The position in a log that does not exist. */
const NOWHERE: BrokerPosition = { epoch: '', offset: 0 };

/** A message of a log of a run. */
export interface RunMessage {
  readonly seq: number;
  readonly time: number;
  readonly head: RunHead;
  readonly data: string;
}

/** One stream with the logs of all runs: each is one subject. */
export class RunStream {
  private readonly stream: string;
  /** How far the clock of the server is ahead of that of this process, in milliseconds. */
  private ahead = 0;

  constructor(
    private readonly prefix: string,
    private readonly settings: LogSettings,
  ) {
    // No hub has such a token.
    this.stream = `${prefix}__0runs`;
  }

  /** The time on the server, in milliseconds since 1970. */
  get now(): number {
    return Date.now() + this.ahead;
  }

  /** The subject that the messages of a log are published to again. */
  tailOf(token: string): string {
    return `${this.prefix}.runtail.${token}`;
  }

  /** Finds the stream, or creates it. */
  async open(session: Session): Promise<void> {
    if (!(await this.find(session))) {
      await this.create(session);
      await this.find(session);
    }
  }

  /** Returns whether the stream exists. If so, learns the time of the server. */
  private async find(session: Session): Promise<boolean> {
    const sent = Date.now();
    const info = await streamInfo(session, this.stream);
    const time = Date.parse(info?.ts ?? '');
    // The server read its clock at some moment between: only beyond that, the clocks differ for certain. Otherwise processes that wait for different answers would disagree.
    this.ahead = Math.min(0, time - sent) || Math.max(0, time - Date.now()) || 0;
    return info !== undefined;
  }

  /** Returns the last message of a log, also if the log has expired. */
  async last(session: Session, token: string): Promise<RunMessage | undefined> {
    try {
      const subject = this.subjectOf(token);
      const { message } = await call<{
        readonly message: { readonly seq: number; readonly time: string; readonly data?: string };
      }>(session, `STREAM.MSG.GET.${this.stream}`, { last_by_subj: subject });
      const payload = Buffer.from(message.data ?? '', 'base64');
      return await this.messageOf(session, message.seq, Date.parse(message.time), payload);
    } catch (error) {
      if (error instanceof JetStreamError && [NO_MESSAGE, NO_STREAM].includes(error.number)) {
        return undefined;
      }
      throw error;
    }
  }

  /**
   * Publishes a message to a log.
   * @param last the sequence number of the last message that the log must have; 0 for none
   * @returns the sequence number, or `undefined` if the log has another last message
   */
  async publish(
    session: Session,
    token: string,
    head: RunHead,
    data: string,
    last: number,
  ): Promise<number | undefined> {
    let payload = Buffer.from(`${JSON.stringify(head)}\n${data}`);
    if (payload.length > session.mostBytes - HEADER_BYTES) {
      const s = await this.publishParts(session, token, Buffer.from(data));
      payload = Buffer.from(`${JSON.stringify({ ...head, s })}\n`);
    }
    const condition = ['Nats-Expected-Last-Subject-Sequence', `${last}`] as const;
    const reply = await this.send(session, this.subjectOf(token), payload, condition);
    try {
      return answerOf<{ readonly seq: number }>(reply).seq;
    } catch (error) {
      if (error instanceof JetStreamError && error.number === WRONG_LAST_SEQUENCE) {
        return undefined;
      }
      throw error;
    }
  }

  /** Removes the messages of a log before a sequence number. */
  async remove(session: Session, token: string, before: number): Promise<void> {
    if (before <= 1) {
      // JetStream would remove all.
      return;
    }
    for (const filter of [this.subjectOf(token), this.partsOf(token)]) {
      await call(session, `STREAM.PURGE.${this.stream}`, { filter, seq: before });
    }
  }

  /** Removes one message. */
  async removeOne(session: Session, seq: number): Promise<void> {
    await call(session, `STREAM.MSG.DELETE.${this.stream}`, { seq, no_erase: true });
  }

  /** Returns the tokens of all logs. */
  async tokens(session: Session): Promise<string[]> {
    const tokens: string[] = [];
    const start = this.subjectOf('');
    for (let total = 1; tokens.length < total; ) {
      const info = await call<{
        readonly total?: number;
        readonly state: { readonly subjects?: Readonly<Record<string, number>> };
      }>(session, `STREAM.INFO.${this.stream}`, { subjects_filter: this.subjectOf('*'), offset: tokens.length });
      const subjects = Object.keys(info.state.subjects ?? {});
      tokens.push(...subjects.map((subject) => subject.slice(start.length)));
      total = subjects.length > 0 ? (info.total ?? 0) : 0;
    }
    return tokens;
  }

  /** Reads at most `count` records of a log after a position, or from its beginning if the position is of another epoch. */
  async read(session: Session, token: string, { epoch, offset }: BrokerPosition, count: number): Promise<RunPage> {
    const last = await this.last(session, token);
    if (!last || last.head.x <= this.now) {
      return { records: [], end: NOWHERE };
    }
    const end = endAfter(last.head);
    const after = epoch === '' || epoch === end.epoch ? offset : 0;
    if (count === 0 || after >= end.offset) {
      return { records: [], end };
    }
    const records =
      last.head.n <= after + 1 ? recordsOf(last) : await this.readMessages(session, token, last, after + count);
    return { records: records.filter((record) => record.offset > after).slice(0, count), end };
  }

  /** Reads the messages of a log up to an offset. */
  private async readMessages(
    session: Session,
    token: string,
    last: RunMessage,
    until: number,
  ): Promise<BrokerRecord[]> {
    const records: BrokerRecord[] = [];
    await readMessages(session, this.stream, [this.subjectOf(token)], async ({ seq, time, payload }) => {
      const message = await this.messageOf(session, seq, time, payload);
      if (message?.head.p === last.head.p) {
        records.push(...recordsOf(message));
      }
      return seq < last.seq && (records[records.length - 1]?.offset ?? 0) < until;
    });
    return records;
  }

  /** Returns a message with all its data. */
  private async messageOf(
    session: Session,
    seq: number,
    time: number,
    payload: Buffer,
  ): Promise<RunMessage | undefined> {
    const { head, data } = runHeadOf(payload.toString()) ?? {};
    if (!head || data === undefined) {
      return undefined;
    }
    if (!head.s) {
      return { seq, time, head, data };
    }
    const parts = head.s.map((part) => session.request(`$JS.API.DIRECT.GET.${this.stream}`, `{"seq":${part}}`));
    const replies = await Promise.all(parts);
    // If a part is missing, the log is being removed.
    return replies.some(({ headers }) => headers?.code === 404)
      ? undefined
      : { seq, time, head, data: Buffer.concat(replies.map((reply) => reply.data)).toString() };
  }

  /** @returns the sequence numbers of the messages with the data */
  private async publishParts(session: Session, token: string, data: Buffer): Promise<number[]> {
    const size = session.mostBytes - HEADER_BYTES;
    const replies: Promise<Msg>[] = [];
    for (let start = 0; start < data.length; start += size) {
      replies.push(this.send(session, this.partsOf(token), data.subarray(start, start + size)));
    }
    return (await Promise.all(replies)).map((reply) => answerOf<{ readonly seq: number }>(reply).seq);
  }

  /** Publishes a message. If the stream was deleted, it is created again. */
  private async send(session: Session, subject: string, payload: Buffer, header?: Header): Promise<Msg> {
    try {
      return await session.request(subject, payload, header);
    } catch (error) {
      if (!(error instanceof NoRespondersError)) {
        throw error;
      }
      await this.open(session);
      return session.request(subject, payload, header);
    }
  }

  private async create(session: Session): Promise<void> {
    const { storage, replicas } = this.settings;
    const config: StreamConfig = {
      name: this.stream,
      subjects: [this.subjectOf('*'), this.partsOf('*')],
      storage,
      num_replicas: replicas,
      retention: 'limits',
      discard: 'old',
      max_msgs: -1,
      max_age: 0,
      max_msgs_per_subject: -1,
      duplicate_window: DUPLICATES_NS,
      allow_direct: true,
      republish: { src: this.subjectOf('>'), dest: this.tailOf('>') },
    };
    await createStream(session, config);
  }

  private subjectOf(token: string): string {
    return `${this.prefix}.run.${token}`;
  }

  private partsOf(token: string): string {
    return `${this.prefix}.runpart.${token}`;
  }
}

function recordsOf({ head, data, time }: RunMessage): BrokerRecord[] {
  return runRecordsOf(head, data, time);
}
