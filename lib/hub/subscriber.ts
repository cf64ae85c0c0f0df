import { HubNotice, type HubResetReason } from '../event/hub-event.js';
import type { SharedPort, SharedSource } from '../source/shared-source.js';
import { inLaterTurn } from '../util/scheduler.js';
import type { Audience, Listener } from './audience.js';
import type { Batch } from './batch.js';
import type { Start } from './history.js';
import type { LogEvent } from './log-event.js';
import { Outlet, type Wish } from './outlet.js';
import type { SubscriberHub } from './subscriber-hub.js';

/**
 * One subscriber. First it reads the history, at the pace of its client; when it has come to the end it joins its audience, and
 * is given what the others are given.
 */
export class Subscriber extends Outlet implements SharedSource, Listener {
  /** Called when it is over. */
  onEnd: (() => void) | undefined;
  private state: 'new' | 'locating' | 'reading' | 'live' | 'over' = 'new';
  private audience: Audience | undefined;
  /** The number up to which it has been given everything, or has it in its backlog. */
  private heard = 0;
  /** Why it cannot go on after that, until it has been told. */
  private lost: HubResetReason | undefined;

  constructor(
    private readonly hub: SubscriberHub,
    wish: Wish,
    /** Where it begins, until it has. */
    private start: Start | undefined,
  ) {
    super(wish);
  }

  /** What a client was not sent, because it is not for it, moves its position too: else that would be evicted some day. */
  get position(): string | undefined {
    const { topics, filter } = this.wish;
    return this.upToDate && (topics || filter)
      ? this.hub.history.idAt(Math.max(this.heard, this.hub.fanOut.delivered))
      : undefined;
  }

  /** What it was given last, or has in its backlog. */
  get lastId(): string | undefined {
    return this.audience && this.hub.history.idAt(this.heard);
  }

  resume(): void {
    if (this.over) {
      // It was ended before anyone read it.
      this.port?.complete();
      return;
    }
    this.attempt((port) => {
      if (this.start) {
        this.begin(this.start, port);
      } else if (this.state === 'reading') {
        this.read(port);
      } else if (this.state === 'live') {
        this.drain(port);
      }
      this.finish();
    });
  }

  refresh(): void {
    const { audience } = this;
    if (!audience || audience.format === this.wantedFormat) {
      return;
    }
    if (this.state === 'live') {
      this.hub.fanOut.catchUp(audience, this);
    }
    // To be given that may have ended it, or have brought it here before.
    if (this.audience === audience) {
      this.leave();
      this.audience = this.hub.fanOut.enter(this.wish.topics, this.wantedFormat);
      if (this.state === 'live') {
        this.audience.join(this);
      }
    }
  }

  catchUp(): string | undefined {
    const { fanOut, history } = this.hub;
    if (this.state === 'live' && this.audience) {
      fanOut.catchUp(this.audience, this);
      this.heard = Math.max(this.heard, fanOut.delivered);
    }
    // Where the log began anew since, that is still to be told.
    return this.audience && this.heard >= history.floor ? history.idAt(this.heard) : undefined;
  }

  stop(): void {
    const { state } = this;
    this.state = 'over';
    this.backlog = undefined;
    this.leave();
    if (state !== 'new' && state !== 'over') {
      this.hub.left(this);
    }
    this.onEnd?.();
    this.onEnd = undefined;
  }

  /** Ends it when the hub has ended, and it has been given what was published before. */
  finish(): void {
    if (this.hub.isClosed() && this.state === 'live' && !this.backlog && !this.waiting) {
      this.end();
    }
  }

  deliver(batch: Batch): void {
    const { heard, port } = this;
    if (!port || heard >= batch.last) {
      return;
    }
    this.heard = batch.last;
    // As attempt() does, without a closure for every delivery.
    try {
      if (heard >= batch.first) {
        const missed = batch.events.filter(({ seq }) => seq > heard);
        this.take(missed, port);
      } else if (batch.format && !this.backlog && port.ready) {
        this.write(batch, port);
      } else {
        this.take(batch.events, port);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  protected get over(): boolean {
    return this.state === 'over';
  }

  private get upToDate(): boolean {
    return this.state === 'live' && !this.backlog && !this.waiting && this.hub.fanOut.settled;
  }

  private get wantedFormat(): Audience['format'] {
    return this.wish.filter ? undefined : this.port?.sharedFormat;
  }

  private begin(start: Start, port: SharedPort): void {
    this.start = undefined;
    this.state = 'locating';
    this.hub.entered(this);
    if (this.over) {
      // Whoever watches who comes may have closed it.
      return;
    }
    if ('ahead' in start) {
      this.hub.history.startAhead(start.ahead).then(
        (found) => this.attempt(() => this.startAt(found, port)),
        (error: unknown) => this.fail(error),
      );
    } else {
      this.startAt(start, port);
    }
  }

  private startAt(start: Start, port: SharedPort): void {
    this.state = 'reading';
    this.audience = this.hub.fanOut.enter(this.wish.topics, this.wantedFormat);
    if ('reason' in start) {
      this.lost = start.reason;
    } else if ('after' in start) {
      this.heard = start.after;
      if (start.anew !== undefined) {
        // What was there before it came may be evicted by now: it has not missed that.
        this.heard = Math.max(start.after, this.hub.history.oldestStart(start.anew));
        port.mark(this.hub.history.idAt(this.heard));
      }
    }
    this.read(port);
    this.finish();
  }

  /** Reads the history, a page in a turn. */
  private read(port: SharedPort): void {
    const { fanOut } = this.hub;
    while (this.ready(port) && this.audience) {
      if (this.lost) {
        this.reset(this.lost, port);
        continue;
      }
      if (this.heard >= fanOut.delivered) {
        this.state = 'live';
        this.audience.join(this);
        this.refresh();
        port.caughtUp?.();
        return;
      }
      const page = this.audience.page(this.heard, fanOut.delivered);
      if (!page) {
        this.lost = 'evicted';
        continue;
      }
      this.readPage(page, port);
      this.refresh();
      if (this.heard < fanOut.delivered && this.ready(port)) {
        inLaterTurn(() => this.attempt(() => this.resume()));
        return;
      }
    }
  }

  private readPage(page: Batch, port: SharedPort): void {
    if (page.format) {
      for (const { shared, count } of page.chunks) {
        this.heard = page.events[count - 1]?.seq ?? page.last;
        if (!port.writeShared(shared)) {
          return;
        }
      }
    } else {
      for (const event of page.events) {
        if (!this.ready(port)) {
          return;
        }
        this.heard = event.seq;
        if (this.wants(event)) {
          this.sendOne(event, port);
        }
      }
    }
    this.heard = page.last;
  }

  /** Tells that something is missing, and goes on with the oldest there is. */
  private reset(reason: HubResetReason, port: SharedPort): void {
    const { fanOut, history } = this.hub;
    this.lost = undefined;
    this.heard = history.oldestStart(fanOut.delivered);
    port.tell(HubNotice.reset(history.idAt(this.heard), history.resetAt(this.heard, reason)));
  }

  protected idBefore({ seq }: LogEvent): string {
    return this.hub.history.idAt(seq - 1);
  }

  private leave(): void {
    if (this.audience) {
      this.hub.fanOut.leave(this.audience, this);
      this.audience = undefined;
    }
  }
}
