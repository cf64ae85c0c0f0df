import { HubNotice, type HubResetReason } from '../format/hub-event.js';
import { inLaterTurn } from '../scheduler.js';
import type { SharedPort, SharedSource } from '../source/shared-source.js';
import type { Audience, Listener } from './audience.js';
import type { Batch } from './batch.js';
import type { FanOut } from './fan-out.js';
import type { History, Start } from './history.js';
import { Outlet, type Wish } from './outlet.js';

/** What subscribers of a hub share. */
export interface SubscriberHub {
  readonly history: History;
  readonly fanOut: FanOut;
  /** Nothing will be published any more. */
  readonly closed: boolean;
  entered(subscriber: Subscriber): void;
  left(subscriber: Subscriber): void;
}

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
  private after = 0;
  /** Why it cannot go on after that, until it has been told. */
  private lost: HubResetReason | undefined;

  constructor(
    private readonly hub: SubscriberHub,
    wish: Wish,
  ) {
    super(wish);
  }

  get kind(): 'shared' {
    return 'shared';
  }

  get endless(): true {
    return true;
  }

  /** What a client was not sent, because it is not for it, moves its position too: else that would be evicted some day. */
  get position(): string | undefined {
    const { topics, filter } = this.wish;
    return this.upToDate && (topics || filter)
      ? this.hub.history.idAt(Math.max(this.after, this.hub.fanOut.delivered))
      : undefined;
  }

  resume(): void {
    if (this.over) {
      // It was ended before anyone read it.
      this.port?.complete();
      return;
    }
    this.attempt((port) => {
      if (this.state === 'new') {
        this.begin(port);
      } else if (this.state === 'reading') {
        this.read(port);
      } else if (this.state === 'live') {
        this.drain(port);
      }
      this.finish();
    });
  }

  refresh(): void {
    if (this.audience && this.audience.format !== this.wantedFormat) {
      this.leave();
      this.audience = this.hub.fanOut.enter(this.wish.topics, this.wantedFormat);
      if (this.state === 'live') {
        this.audience.join(this);
      }
    }
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

  /** Ends it at once, and well. */
  end(): void {
    if (!this.over) {
      this.stop();
      this.port?.complete();
    }
  }

  /** Ends it when the hub is closed and it has been given everything. */
  finish(): void {
    if (this.hub.closed && this.upToDate && this.hub.fanOut.settled) {
      this.end();
    }
  }

  deliver(batch: Batch): void {
    this.attempt((port) => {
      const { after } = this;
      if (after >= batch.last) {
        return;
      }
      this.after = batch.last;
      if (after >= batch.first) {
        const missed = batch.events.filter(({ seq }) => seq > after);
        this.take(missed, port);
      } else if (batch.format && !this.backlog && port.ready) {
        this.write(batch, port);
      } else {
        this.take(batch.events, port);
      }
    });
  }

  protected get over(): boolean {
    return this.state === 'over';
  }

  private get upToDate(): boolean {
    return this.state === 'live' && !this.backlog && !this.waiting && this.hub.fanOut.idle;
  }

  private get wantedFormat(): Audience['format'] {
    return this.wish.filter ? undefined : this.port?.sharedFormat;
  }

  private begin(port: SharedPort): void {
    const { start } = this.wish;
    this.state = 'locating';
    this.hub.entered(this);
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
      this.after = start.after;
      if (!this.wish.resumes) {
        port.mark(this.hub.history.idAt(this.after));
      }
    }
    this.read(port);
    this.finish();
  }

  /** Reads the history, a page in a turn. */
  private read(port: SharedPort): void {
    const { fanOut, history } = this.hub;
    while (this.ready(port) && this.audience) {
      if (this.lost) {
        this.reset(this.lost, port);
        continue;
      }
      if (this.after >= fanOut.delivered) {
        this.state = 'live';
        this.audience.join(this);
        this.refresh();
        return;
      }
      if (this.after + 1 < history.window.oldest) {
        this.lost = 'evicted';
        continue;
      }
      this.readPage(this.audience.page(this.after, fanOut.delivered), port);
      this.refresh();
      if (this.after < fanOut.delivered) {
        inLaterTurn(() => this.attempt(() => this.resume()));
        return;
      }
    }
  }

  private readPage(page: Batch, port: SharedPort): void {
    if (page.format) {
      for (const { shared, count } of page.chunks) {
        this.after = page.events[count - 1]?.seq ?? page.last;
        if (!port.writeShared(shared)) {
          return;
        }
      }
    } else {
      for (const event of this.wanted(page.events)) {
        if (!this.ready(port)) {
          return;
        }
        this.after = event.seq;
        this.sendOne(event, port);
      }
    }
    this.after = page.last;
  }

  /** Tells that something is missing, and goes on with the oldest there is. */
  private reset(reason: HubResetReason, port: SharedPort): void {
    const { fanOut, history } = this.hub;
    this.lost = undefined;
    this.after = Math.min(history.window.oldest - 1, fanOut.delivered);
    port.tell(HubNotice.reset(history.idAt(this.after), history.resetAt(this.after, reason)));
  }

  private leave(): void {
    if (this.audience) {
      this.hub.fanOut.leave(this.audience, this);
      this.audience = undefined;
    }
  }
}
