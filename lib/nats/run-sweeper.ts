import { LONGEST_MS } from '../util/checks.js';
import type { RunStream } from './run-stream.js';
import type { Session } from './session.js';

/** The shortest time between two searches for expired logs, in milliseconds: each search looks at all logs that this process has changed. */
const SWEEP_MS = 1_000;
/** How many logs are removed at the same time. */
const REMOVALS = 16;
/** How often all logs of the stream are looked at, in milliseconds: the process that would remove them may have ended. */
const SCAN_MS = 600_000;

/** Removes the messages of logs that have expired. JetStream has no time for each subject before 2.11. */
export class RunSweeper {
  /** When logs expire, by the clock of the server. */
  private readonly expiries = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private sweepAt = Number.POSITIVE_INFINITY;
  private scanAt = Date.now() + SCAN_MS * (0.5 + Math.random());
  private closed = false;

  constructor(
    private readonly stream: RunStream,
    private readonly link: { readonly session: Session | undefined },
  ) {}

  expireAt(token: string, at: number): void {
    this.expiries.set(token, at);
    if (at < this.sweepAt) {
      this.sweepLater(at);
    }
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.expiries.clear();
  }

  private sweepLater(at: number): void {
    if (!this.closed) {
      clearTimeout(this.timer);
      const { now } = this.stream;
      this.sweepAt = Math.max(at, now + SWEEP_MS);
      this.timer = setTimeout(() => void this.sweep(), Math.min(this.sweepAt - now, LONGEST_MS)).unref();
    }
  }

  private async sweep(): Promise<void> {
    const { session } = this.link;
    if (session?.usable) {
      // What fails is tried again.
      await this.removeExpired(session).catch(() => undefined);
      await this.scan(session).catch(() => undefined);
    }
    if (this.expiries.size > 0) {
      let next = Number.POSITIVE_INFINITY;
      for (const at of this.expiries.values()) {
        next = Math.min(next, at);
      }
      this.sweepLater(next);
    } else {
      this.sweepAt = Number.POSITIVE_INFINITY;
    }
  }

  private async removeExpired(session: Session): Promise<void> {
    const expired = [...this.expiries].filter(([, at]) => at <= this.stream.now).map(([token]) => token);
    for (let start = 0; start < expired.length; start += REMOVALS) {
      await Promise.all(expired.slice(start, start + REMOVALS).map((token) => this.remove(session, token)));
    }
  }

  /** Removes a log, unless another process has set another time. */
  private async remove(session: Session, token: string): Promise<void> {
    const last = await this.stream.last(session, token);
    if (!last) {
      this.expiries.delete(token);
    } else if (last.head.x > this.stream.now) {
      this.expiries.set(token, last.head.x);
    } else {
      await this.stream.remove(session, token, last.seq + 1);
      this.expiries.delete(token);
    }
  }

  /** Looks for logs of which this process does not know when they expire. */
  private async scan(session: Session): Promise<void> {
    if (Date.now() < this.scanAt) {
      return;
    }
    this.scanAt = Date.now() + SCAN_MS * (0.5 + Math.random());
    for (const token of await this.stream.tokens(session)) {
      if (!this.expiries.has(token)) {
        await this.remove(session, token);
      }
    }
  }
}
