import type { BrokerRecord } from '../broker/broker.js';
import { encodedData } from '../hub/entry.js';
import { LogEvent } from '../hub/log-event.js';
import type { ResumableSource, SourceHead } from '../source/source.js';
import { StreamError } from '../util/errors.js';
import { DONE, type Step } from '../util/iteration.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { forgottenError, goneError, lostError } from './run-errors.js';
import type { LastState, RunLog, RunLogListener } from './run-log.js';
import { patiently } from './run-patience.js';
import { isChunk } from './run-record.js';

/** Where a reader begins. */
export interface ReadStart {
  /** The epoch of the run. */
  readonly epoch: string;
  /** The offset of the record after which it begins. */
  readonly after: number;
  /** The id of that record. */
  readonly id: string;
  /** The trace context of the run. */
  readonly trace?: string | undefined;
  /** A notice for the client, which comes first. */
  readonly notice?: LogEvent;
  /** Whether it is that of `start()`: if it leaves before it has read anything, a viewer has left. Others, such as that of a HEAD request, have not come. */
  readonly isFirst?: boolean;
}

/** The part of the runs that a reader uses. */
export interface ReaderPlace {
  readonly compact: ((chunks: readonly unknown[]) => readonly unknown[]) | undefined;
  /** How long to try to read while the broker is away, in milliseconds. */
  readonly patience: number;
  /** Whether a long poll may read a run: its viewer leaves with every response. */
  readonly polls: boolean;
  enter(reader: RunReader): Promise<RunLog>;
  leave(reader: RunReader, log: RunLog | undefined): void;
  /** Returns the error with which a reader ends whose run has not completed. `undefined`: it ends cleanly. */
  errorOf(last: LastState): unknown;
}

/** Reads the log of a run at the pace of one viewer: first what is there, and then what is appended. */
export class RunReader implements ResumableSource, RunLogListener {
  readonly kind = 'pull';
  onWait: (() => void) | undefined;
  private page: readonly LogEvent[];
  private next = 0;
  private reached: number;
  private log: RunLog | undefined;
  private waiter: Deferred<Step> | undefined;
  /** Set when nothing more can be read. */
  private failure: { readonly error: unknown } | undefined;
  private left = false;

  /** @param head the status of the response, if it is not that of a stream */
  constructor(
    readonly name: string,
    private readonly place: ReaderPlace,
    private readonly start: ReadStart,
    readonly head?: SourceHead,
  ) {
    this.reached = start.after;
    this.page = start.notice ? [start.notice] : [];
  }

  /** The epoch of the run that it reads. */
  get epoch(): string {
    return this.start.epoch;
  }

  get trace(): string | undefined {
    return this.start.trace;
  }

  get resumesAfter(): string | undefined {
    return this.place.polls && !this.head ? this.start.id : undefined;
  }

  get weight(): number {
    return this.page[this.next - 1]?.weight ?? 0;
  }

  pull(): Step | Promise<Step> {
    const event = this.page[this.next];
    if (event) {
      return this.step(event);
    }
    if (this.head) {
      return DONE;
    }
    // While a run is in progress, most viewers wait for its next chunk.
    return this.log && this.isAtEnd(this.log) ? this.wait() : this.more();
  }

  stop(): void {
    // Whoever has an empty view is no viewer of the run, which may belong to somebody else.
    if (!this.left && !this.head) {
      this.left = true;
      if (this.log || this.start.isFirst) {
        this.place.leave(this, this.log);
      }
    }
    this.waiter?.resolve(DONE);
    this.waiter = undefined;
  }

  /** Ends the reading with an error, after what is read already. */
  fail(error: unknown): void {
    this.failure ??= { error };
    const { waiter } = this;
    if (waiter) {
      this.waiter = undefined;
      this.stop();
      waiter.reject(error);
    }
  }

  onRecords(events: readonly LogEvent[], first: number, last: number): void {
    const { waiter, log } = this;
    if (!waiter) {
      // They are read when the viewer asks for them.
      return;
    }
    if (first === this.reached + 1) {
      this.turn(events, last);
    }
    // A page that was read may already contain these records, or the first of them: then there may be nothing new but the end of the run.
    if (this.next < this.page.length || this.reached < last || log?.state.over) {
      this.waiter = undefined;
      // A plain step or the result of a promise, both resolve the waiter.
      this.settle(waiter);
    }
  }

  onGone(last?: LastState): void {
    this.fail(last ? this.errorAfter(last) : lostError());
  }

  private async more(): Promise<Step> {
    try {
      return await this.nextStep(this.log ?? (await this.enter()));
    } catch (error) {
      if (this.left && !this.failure) {
        // Nobody waits for it any more.
        return DONE;
      }
      this.failure ??= { error };
      // A source that has thrown is not stopped by those who read it.
      this.stop();
      throw error;
    }
  }

  private async nextStep(log: RunLog): Promise<Step> {
    for (;;) {
      if (this.left) {
        return DONE;
      }
      if (this.failure) {
        throw this.failure.error;
      }
      const event = this.page[this.next];
      if (event) {
        return this.step(event);
      }
      if (log.end.epoch !== this.start.epoch) {
        // What the log says is about another run, or about none.
        this.fail(goneError());
      } else if (this.reached < log.end.offset) {
        await this.readPage(log);
      } else if (log.state.over) {
        return this.finish(log);
      } else {
        return this.wait();
      }
    }
  }

  /** Returns whether the viewer has received all that there is, and more will follow. */
  private isAtEnd({ end, state }: RunLog): boolean {
    return !(this.left || this.failure || state.over) && end.epoch === this.start.epoch && end.offset === this.reached;
  }

  private wait(): Promise<Step> {
    const waiter = deferred<Step>();
    this.waiter = waiter;
    this.onWait?.();
    return waiter.promise;
  }

  private step(event: LogEvent): Step {
    this.next++;
    return { done: false, value: event.event };
  }

  private async enter(): Promise<RunLog> {
    const log = await this.place.enter(this);
    this.log = log;
    if (this.left) {
      // The viewer has left while the log was being opened.
      this.place.leave(this, log);
    }
    return log;
  }

  private async readPage(log: RunLog): Promise<void> {
    const records = await patiently(
      this.place.patience,
      () => this.left || this.failure !== undefined,
      () => log.read(this.reached),
    );
    const [first] = records;
    const last = records.at(-1);
    if (first && last && first.epoch === this.start.epoch && first.offset === this.reached + 1) {
      this.turn(this.eventsOf(log, records), last.offset);
      return;
    }
    // Records that were in the log are not there any more.
    this.onGone(log);
  }

  private eventsOf(log: RunLog, records: readonly BrokerRecord[]): readonly LogEvent[] {
    const events = log.eventsOf(records);
    const { compact } = this.place;
    return compact ? compacted(events, records.filter(isChunk), compact) : events;
  }

  private turn(page: readonly LogEvent[], last: number): void {
    this.page = page;
    this.next = 0;
    this.reached = last;
  }

  /** Returns the error of a viewer that has not read everything before the log was removed. */
  private errorAfter(last: LastState): unknown {
    return last.state.over ? (this.place.errorOf(last) ?? forgottenError()) : goneError();
  }

  private finish(log: RunLog): Step {
    const error = this.place.errorOf(log);
    if (error !== undefined) {
      throw error;
    }
    this.stop();
    return DONE;
  }

  private settle(waiter: Deferred<Step>): void {
    try {
      const step = this.pull();
      if (step instanceof Promise) {
        step.then(
          (late) => waiter.resolve(late),
          (error: unknown) => waiter.reject(error),
        );
      } else {
        waiter.resolve(step);
      }
    } catch (error) {
      waiter.reject(error);
    }
  }
}

/** A chunk, or several that were joined. */
interface Joined {
  readonly event: LogEvent;
  readonly record: BrokerRecord;
  /** The data of several. It is encoded once, when all are joined. */
  readonly result?: { readonly data: unknown };
}

/** Joins neighbours. The result of two has the id of the second, so that a client resumes after both. */
function compacted(
  events: readonly LogEvent[],
  records: readonly BrokerRecord[],
  compact: (chunks: readonly unknown[]) => readonly unknown[],
): readonly LogEvent[] {
  const joined: Joined[] = [];
  events.forEach((event, index) => {
    const record = records[index] as BrokerRecord;
    const before = joined.at(-1);
    if (before && before.record.type === record.type) {
      const data = before.result ? before.result.data : before.event.event.data;
      const result = compact([data, event.event.data]);
      if (!Array.isArray(result) || result.length > 2) {
        throw new StreamError('invalid-option', 'compact() of registerRuns() must return a list of 0 to 2 chunks');
      }
      if (result.length < 2) {
        joined.pop();
      }
      if (result.length === 1) {
        joined.push({ event, record, result: { data: result[0] } });
      }
      if (result.length < 2) {
        return;
      }
    }
    joined.push({ event, record });
  });
  return joined.map(({ event, record, result }) =>
    result ? new LogEvent(event.seq, event.id, { ...record, ...encodedData(result.data) }) : event,
  );
}
