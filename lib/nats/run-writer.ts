import { randomBytes } from 'node:crypto';
import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { unknownRecords } from '../broker/broker-errors.js';
import type { StreamError } from '../util/errors.js';
import { UnansweredError, unavailable } from './nats-errors.js';
import type { RunCall, RunChange } from './run-calls.js';
import { endAfter, fieldOf, type RunHead } from './run-message.js';
import type { RunStream } from './run-stream.js';
import type { Session } from './session.js';

/** How many bytes the entries of several calls may have in one message. */
const MOST_BYTES = 256 * 1024;
/** More than the server can add to its time is forever. */
const LONGEST_MS = 2 ** 50;

/** The last message of a log, as far as a process knows it. */
interface RunEnd {
  readonly seq: number;
  readonly head: RunHead;
}

export interface RunWriterOptions {
  readonly server: string;
  readonly stream: RunStream;
  /** Returns the session, if there is one, and why there is none. */
  readonly link: { readonly session: Session | undefined; readonly failure: StreamError | undefined };
  /** Called with the time at which a log expires, in milliseconds since 1970 on the clock of the server. */
  readonly onExpiry: (at: number) => void;
  /** Called when nothing waits. */
  readonly onIdle: () => void;
}

/**
 * Changes one log of a run, in the order of the calls. Each message has the condition that the log still ends where this process believes: another process may change it,
 * too. Then the end is looked for, and the call is tried again. While a message is on its way, calls wait, and the next message has the entries of all of them.
 */
export class RunWriter {
  private queue: RunCall[] = [];
  /** The last message. The log does not exist if it has expired. `null`: there is none. `undefined`: not known. */
  private end: RunEnd | null | undefined;
  /** When the end was looked for, on the clock of `performance.now()`. */
  private foundAt = 0;
  private running = false;

  constructor(
    readonly token: string,
    private readonly options: RunWriterOptions,
  ) {}

  get isIdle(): boolean {
    return !this.running && this.queue.length === 0;
  }

  add(call: RunCall): void {
    this.queue.push(call);
    this.flush();
  }

  /** Called when there is another session, in which the log may have another end. */
  onSession(): void {
    this.end = undefined;
    this.flush();
  }

  /** Rejects a call that has waited for too long. */
  expire(call: RunCall): void {
    const { server, link } = this.options;
    call.reject(
      call.sent
        ? unknownRecords(server, 'it did not answer in time')
        : (link.failure ?? unavailable(server, new Error('it did not answer in time'))),
    );
  }

  private flush(): void {
    const { session } = this.options.link;
    if (!this.running && session?.usable && this.queue.length > 0) {
      void this.run(session);
    }
  }

  private async run(session: Session): Promise<void> {
    this.running = true;
    while (this.queue.length > 0 && session.usable) {
      const [first] = this.queue;
      if (first && !first.settled) {
        await this.step(session, first);
      } else {
        this.queue.shift();
      }
    }
    this.running = false;
    if (this.isIdle) {
      this.options.onIdle();
    } else {
      // There may be another session.
      this.flush();
    }
  }

  /** Does the first call, and those that can be done with it. */
  private async step(session: Session, first: RunCall): Promise<void> {
    let calls = [first];
    try {
      if (this.end === undefined) {
        this.foundAt = performance.now();
        this.end = (await this.options.stream.last(session, this.token)) ?? null;
      }
      if (!this.isMet(first.change)) {
        this.onUnmet(first);
      } else {
        calls = this.together(first);
        await this.write(session, calls);
      }
    } catch (error) {
      this.end = undefined;
      this.fail(calls, error);
    }
  }

  private isMet({ kind, after }: RunChange): boolean {
    const end = this.end && this.end.head.x > this.options.stream.now ? endAfter(this.end.head) : undefined;
    const isThere = end !== undefined && (!after || (end.epoch === after.epoch && end.offset === after.offset));
    return kind === 'create' && !after ? end === undefined : isThere;
  }

  private onUnmet(call: RunCall): void {
    if (call.time < this.foundAt) {
      this.queue.shift();
      call.resolve(false);
    } else {
      // Another process may have changed the log before this call.
      this.end = undefined;
    }
  }

  /** Returns the calls whose entries one message can have. */
  private together(first: RunCall): RunCall[] {
    const calls: RunCall[] = [];
    let end = this.end ? endAfter(this.end.head) : undefined;
    let bytes = 0;
    for (const call of this.queue) {
      const { kind, after, entries } = call.change;
      bytes += call.bytes;
      const fits =
        kind === 'append' &&
        bytes < MOST_BYTES &&
        (!after || (after.epoch === end?.epoch && after.offset === end.offset));
      if (call !== first && (!fits || first.change.kind !== 'append' || call.settled)) {
        break;
      }
      calls.push(call);
      end = end && { ...end, offset: end.offset + entries.length };
    }
    return calls;
  }

  private async write(session: Session, calls: readonly RunCall[]): Promise<void> {
    const { stream, onExpiry } = this.options;
    const head = this.headOf(calls);
    const earlier = this.end;
    for (const call of calls) {
      call.sent = true;
    }
    const data = calls.flatMap(({ change }) => change.entries.map((entry) => entry.data)).join('');
    const seq = await stream.publish(session, this.token, head, data, earlier?.seq ?? 0);
    for (const call of calls) {
      call.sent = false;
    }
    if (seq === undefined) {
      this.end = undefined;
      return;
    }
    this.end = { seq, head };
    onExpiry(head.x);
    this.resolve(calls, head);
    this.clean(session, earlier ?? undefined, head, seq);
  }

  private headOf(calls: readonly RunCall[]): RunHead {
    const { now } = this.options.stream;
    const entries: BrokerEntry[] = calls.flatMap(({ change }) => change.entries);
    const creates = calls[0]?.change.kind === 'create';
    const ms = calls.map(({ change }) => change.ms).findLast((each) => each !== undefined);
    const { epoch, offset }: BrokerPosition =
      this.end && !creates ? endAfter(this.end.head) : { epoch: randomBytes(6).toString('hex'), offset: 0 };
    return {
      p: epoch,
      n: offset + 1,
      // A log that is dropped has expired: its messages are removed after that.
      x: ms === undefined ? (this.end?.head.x ?? now) : ms === 0 ? 0 : Math.ceil(now + Math.min(ms, LONGEST_MS)),
      e: entries.map(fieldOf),
    };
  }

  private resolve(calls: readonly RunCall[], { p, n }: RunHead): void {
    let offset = n - 1;
    for (const call of calls) {
      this.queue.shift();
      offset += call.change.entries.length;
      call.resolve({ epoch: p, offset });
    }
  }

  /** Removes what the log does not need any more. What fails is removed with the log. */
  private clean(session: Session, earlier: RunEnd | undefined, head: RunHead, seq: number): void {
    const { stream } = this.options;
    const ignore = (): void => undefined;
    if (head.x === 0) {
      stream.remove(session, this.token, seq + 1).catch(ignore);
    } else if (earlier && head.p !== earlier.head.p) {
      stream.remove(session, this.token, earlier.seq + 1).catch(ignore);
    } else if (earlier && earlier.head.e.length === 0) {
      stream.removeOne(session, earlier.seq).catch(ignore);
    }
  }

  private fail(calls: readonly RunCall[], error: unknown): void {
    const { server } = this.options;
    for (const call of calls) {
      const isUnknown = call.sent && error instanceof UnansweredError;
      call.reject(isUnknown ? unknownRecords(server, error.message) : unavailable(server, error));
    }
    this.queue = this.queue.filter(({ settled }) => !settled);
  }
}
