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

/** The interface of a connection to its poll. */
export interface PollPort extends PumpPort {
  readonly losses: Losses;
  overflow(): void;
}

/** Reads the events that a poll has collected. */
class GatheredSource implements PullSource {
  readonly kind = 'pull';
  private next = 0;

  /**
   * @param id the position of the client before the first event
   * @param end the position after the last event
   */
  constructor(
    private readonly items: readonly HubEvent[],
    public id: string | undefined,
    private readonly end: string | undefined,
  ) {}

  pull(): Step {
    // The previous event was passed on when the next one is pulled.
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
 * Reads a shared source for one response: waits for an event, collects further events of the same turn, and passes them on as a source
 * that ends. Events that exceed the queue are left for the next poll.
 */
export class PollReader implements Reader, SharedPort {
  readonly sharedFormat = undefined;
  /** The reason for the end of the wait. `undefined` while it waits. */
  private ended: StreamCloseReason | undefined;
  private readonly items: HubEvent[] = [];
  private bytes = 0;
  /** The position at which the client begins, if the source has sent it. */
  private start: string | undefined;
  /** `history`: the events before the request are collected. `live`: new events are collected. */
  private phase: 'idle' | 'history' | 'live' = 'idle';
  private full = false;
  private due = false;
  private timer: NodeJS.Timeout | undefined;
  private answer: { readonly source: GatheredSource; readonly pump: Pump } | undefined;

  /** @param wait how long to wait for an event, in seconds */
  constructor(
    private readonly source: SharedSource,
    private readonly wait: number,
    private readonly port: PollPort,
  ) {
    source.connect(this);
  }

  /** The id up to which the client has been sent all events. `undefined`: its position is still that of its request. */
  get id(): string | undefined {
    return this.answer ? this.answer.source.id : this.start;
  }

  /** Whether it still waits for events, or collects them. */
  get waiting(): boolean {
    return this.ended === undefined;
  }

  /** The reason for the end of the response. */
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

  /** Ends the wait. The response contains the events that were collected. */
  conclude(reason: StreamCloseReason = this.reason): void {
    const position = this.waiting ? this.source.catchUp() : undefined;
    // catchUp() may have failed the stream.
    if (this.waiting) {
      const { items, start } = this;
      const last = items.at(-1)?.id ?? start;
      this.release(reason);
      const source = new GatheredSource(items, start, this.full ? last : (position ?? last));
      this.answer = { source, pump: new Pump(source, this.port) };
      this.answer.pump.resume();
    }
  }

  /** Calls {@link conclude} in a later turn, so that further events of this turn are included. */
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
      // Stopped now: the source would queue further events for this client, which receives them in its next poll.
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
