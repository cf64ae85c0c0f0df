import { atMost } from '../util/at-most.js';
import type { KnownLog } from './known-log.js';
import type { Mark } from './mark.js';
import { NoRespondersError, UnansweredError } from './nats-errors.js';
import type { Session } from './session.js';
import { answerOf } from './stream-api.js';

/** How long after an entry a mark is published, in milliseconds, unless another process publishes one before. */
const MARK_MS = 500;
/**
 * Marks have one of a fixed number of subjects, one after the other while the stream keeps a message. A stream removes the oldest messages of a subject if there are too many, but never the last:
 * so its first message shows which messages may be missing because of their age.
 */
const BUCKETS = 64;

export interface TopicMarksOptions {
  readonly timeout: number;
  /** Runs a function in a session. Rejects with a `StreamError` if there is none in time, or if NATS refuses a request. */
  readonly use: <T>(run: (session: Session) => Promise<T>) => Promise<T>;
}

/** Publishes marks to the stream of a log. All processes receive them. */
export class TopicMarks {
  private appended = 0;
  private seen = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly log: KnownLog,
    private readonly options: TopicMarksOptions,
  ) {}

  /** Publishes a mark. Resolves to its place in the stream. */
  publish(): Promise<Mark> {
    const { log } = this;
    return this.options.use(async (session) => {
      const send = async (): Promise<Mark> => {
        const { seq } = answerOf<{ readonly seq: number }>(await session.request(this.subject()));
        return { id: log.end.id, seq };
      };
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof NoRespondersError)) {
          throw error;
        }
        await log.find(session);
        return send();
      }
    });
  }

  /** Called with a mark that was received. */
  saw({ seq }: Mark): void {
    this.seen = seq;
  }

  /** Called with an entry that this process has appended. */
  onAppended({ seq }: Mark): void {
    this.appended = seq;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.seen < this.appended) {
        this.publish().catch(() => undefined);
      }
    }, MARK_MS).unref();
  }

  async inTime<T>(promise: Promise<T>): Promise<T> {
    const { timeout } = this.options;
    if (!(await atMost(timeout, promise))) {
      throw new UnansweredError(`it did not answer within ${timeout} ms`);
    }
    return promise;
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private subject(): string {
    const bucket = Math.floor((Date.now() * (BUCKETS / 2)) / this.log.maxAge) % BUCKETS;
    return `${this.log.names.subject}.mark.${bucket}`;
  }
}
