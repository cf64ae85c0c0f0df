import type { HubEvent } from '../../event/hub-event.js';
import type { SharedPort, SharedSource } from '../../source/shared-source.js';
import { type PullSource } from '../../source/source.js';
import type { StreamCloseReason } from '../../util/close-reason.js';
import { StreamError } from '../../util/errors.js';
import { DONE, type Step } from '../../util/iteration.js';
import type { Losses } from '../../util/queue-limits.js';
import { inLaterTurn } from '../../util/scheduler.js';
import { Pump, type PumpPort } from './pump.js';
import type { Reader } from './reader.js';

/** What a poll needs of the connection it answers. */
export interface PollPort extends PumpPort {
  readonly losses: Losses;
  overflow(): void;
}

/** What a poll has gathered, on its way to the client. */
class GatheredSource implements PullSource {
  readonly kind = 'pull';
  private next = 0;

  /**
   * @param id where the client was before all this
   * @param end where it is after it
   */
  constructor(
    private readonly items: readonly HubEvent[],
    public id: string | undefined,
    private readonly end: string | undefined,
  ) {}

  pull(): Step {
    // Who asks for the next has passed on the one before.
    this.id = this.items[this.next - 1]?.id ?? this.id;
    const value = this.items[this.next++];
    if (value === undefined) {
      this.id = this.end;
      return DONE;
    }
    return { done: false, value };
  }

  stop(): void {
    return;
  }
}

/**
 * Reads a shared source for one answer: waits for something to come, gathers what comes until the next turn, and passes that
 * on as a source that ends. What is more than may wait for a client is left for its next poll.
 */
export class PollReader implements Reader, SharedPort {
  readonly sharedFormat = undefined;
  /** Why it no longer waits. */
  private ended: StreamCloseReason | undefined;
  private readonly items: HubEvent[] = [];
  private bytes = 0;
  /** Where the client begins, as far as the source has told. */
  private start: string | undefined;
  /** In `history`, what was there before is gathered; in `live`, what happens meanwhile. */
  private phase: 'idle' | 'history' | 'live' = 'idle';
  private full = false;
  private due = false;
  private timer: NodeJS.Timeout | undefined;
  private answer: { readonly source: GatheredSource; readonly pump: Pump } | undefined;

  /** @param wait in seconds */
  constructor(
    private readonly source: SharedSource,
    private readonly wait: number,
    private readonly port: PollPort,
  ) {
    source.connect(this);
  }

  /** The id up to which the client has been sent everything. Nothing: that of its request, whatever it was. */
  get id(): string | undefined {
    return this.answer ? this.answer.source.id : this.start;
  }

  /** Whether it still waits or gathers. */
  get waiting(): boolean {
    return this.ended === undefined;
  }

  /** Why the answer ends. */
  get reason(): StreamCloseReason {
    return this.ended ?? { code: 'completed' };
  }

  get losses(): Losses {
    return this.port.losses;
  }

  get ready(): boolean {
    return this.waiting && !this.full;
  }

  resume(): void {
    if (this.answer) {
      this.answer.pump.resume();
    } else if (this.phase === 'idle') {
      this.phase = 'history';
      if (this.wait > 0) {
        this.timer = setTimeout(() => this.conclude(), this.wait * 1_000);
      }
      this.source.resume();
    }
  }

  stop(): void {
    if (this.waiting) {
      this.release(this.reason);
    }
    this.answer?.pump.stop();
  }

  /** Ends the wait: what there is by now is the answer. */
  conclude(reason: StreamCloseReason = this.reason): void {
    const position = this.waiting ? this.source.catchUp() : undefined;
    // To be given the rest may have failed.
    if (this.waiting) {
      const { items, start } = this;
      const last = items.at(-1)?.id ?? start;
      this.release(reason);
      const source = new GatheredSource(items, start, this.full ? last : (position ?? last));
      this.answer = { source, pump: new Pump(source, this.port) };
      this.answer.pump.resume();
    }
  }

  /** As {@link conclude}, with what else comes in this turn. */
  concludeSoon(): void {
    if (!this.due) {
      this.due = true;
      inLaterTurn(() => this.conclude());
    }
  }

  emit(event: HubEvent, bytes: number): void {
    const { queue } = this.source;
    this.items.push(event);
    this.bytes += bytes;
    if (this.items.length >= queue.items || this.bytes >= queue.bytes) {
      this.full = true;
      // At once: it would hold back for a slow client what this one comes back for.
      this.source.stop();
      this.concludeSoon();
    } else if (this.phase === 'live') {
      this.concludeSoon();
    }
  }

  notify(notice: HubEvent): void {
    this.emit(notice, 0);
  }

  sendPosition(id: string): void {
    this.start = id;
  }

  onCaughtUp(): void {
    this.phase = 'live';
    if (this.wait === 0 || this.items.length > 0) {
      this.concludeSoon();
    }
  }

  writeShared(): never {
    throw new StreamError('invalid-state', 'A poll has no shared format');
  }

  complete(): void {
    this.conclude();
  }

  fail(error: unknown): void {
    this.stop();
    this.port.fail(error);
  }

  overflow(): void {
    this.port.overflow();
  }

  private release(reason: StreamCloseReason): void {
    this.ended = reason;
    clearTimeout(this.timer);
    this.source.stop();
  }
}
