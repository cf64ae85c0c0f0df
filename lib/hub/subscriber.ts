import { HubEvent } from '../event/hub-event.js';
import type { StreamFormat } from '../format/format.js';
import type { DirectPort, SharedPort, SharedSource } from '../source/shared-source.js';
import { StreamError } from '../util/errors.js';
import type { QueueLimits } from '../util/queue-limits.js';
import { inLaterTurn } from '../util/scheduler.js';
import { isThenable } from '../util/thenable.js';
import type { Audience, AudienceMember } from './audience.js';
import type { Batch } from './batch.js';
import type { RowTotals } from './direct-row.js';
import type { Lane } from './lane.js';
import type { FindStart, Start } from './start.js';
import { type SubscriberOptions, type SubscriberReader, SubscriberWriter } from './subscriber-writer.js';

/** The part of a hub that its subscribers share. */
export interface SubscriberHub {
  readonly lane: Lane;
  /** Returns whether the hub is closed, so that a subscriber ends as soon as everything is written to it. */
  isClosed(): boolean;
  onSubscribed(subscriber: Subscriber): void;
  onUnsubscribed(subscriber: Subscriber): void;
}

type SubscriberState =
  /** The subscription was created, but is not read yet. */
  | { readonly phase: 'new'; readonly find: FindStart }
  /** Writes its backlog, and then finds out where it continues, since events are missing. */
  | { readonly phase: 'draining'; readonly find: FindStart }
  /** Waits for the broker, which determines the start. */
  | { readonly phase: 'locating' }
  /** Reads the history. `loss` of the start is set until the client has been sent a `reset`. */
  | { readonly phase: 'reading'; audience: Audience; start: Start }
  /** Receives new events together with its audience. */
  | { readonly phase: 'live'; readonly audience: Audience }
  | { readonly phase: 'closed' };

const LOCATING: SubscriberState = { phase: 'locating' };
const CLOSED: SubscriberState = { phase: 'closed' };

/**
 * One subscriber. It first reads the history, at the pace of its client. At the end of the history it joins its audience. From then on, it
 * receives the same batches as all members of the audience.
 */
export class Subscriber implements SharedSource, AudienceMember, SubscriberReader {
  /** Called once, when the subscriber is closed. */
  onEnd: (() => void) | undefined;
  private state: SubscriberState;
  private readonly writer: SubscriberWriter;
  seat = -1;
  /** The sequence number of the last event that was written, or added to the backlog, without those that rounds have {@link sent} through the row. */
  private last = 0;

  constructor(
    readonly hub: SubscriberHub,
    options: SubscriberOptions,
    find: FindStart,
  ) {
    this.state = { phase: 'new', find };
    this.writer = new SubscriberWriter(options, this);
  }

  get kind(): 'shared' {
    return 'shared';
  }

  get endless(): true {
    return true;
  }

  get options(): SubscriberOptions {
    return this.writer.options;
  }

  get closed(): boolean {
    return this.state.phase === 'closed';
  }

  /** What it was sent by the rounds of the row of its audience, if it is in the row. */
  get sent(): RowTotals | undefined {
    return this.seat < 0 ? undefined : this.audience?.row?.sent(this.seat);
  }

  /** The sequence number of the last event that was written, or added to the backlog. */
  private get reached(): number {
    return Math.max(this.last, this.sent?.seq ?? 0);
  }

  private set reached(number: number) {
    this.last = number;
  }

  get queue(): QueueLimits {
    return this.options.queue;
  }

  /** The position also advances with events that this client does not receive. Otherwise it would be evicted from the history at some time. */
  get position(): string | undefined {
    const { topics, filter } = this.options;
    const { lane } = this.hub;
    const { fanOut } = lane;
    const upToDate = this.state.phase === 'live' && this.writer.drained && fanOut.settled;
    return upToDate && (topics || filter) ? lane.idAt(Math.max(this.reached, fanOut.delivered)) : undefined;
  }

  /** The id of the last event that was written, or added to the backlog; `undefined` before the start. */
  get lastId(): string | undefined {
    return this.audience && this.hub.lane.idAt(this.reached);
  }

  connect(port: SharedPort): void {
    this.writer.port = port;
  }

  resume(): void {
    if (this.closed) {
      // The subscriber was closed before it was read.
      this.writer.port?.complete();
      return;
    }
    this.attempt((port) => {
      const { state } = this;
      if (state.phase === 'new') {
        this.begin(state.find, port);
      } else if (state.phase === 'draining') {
        this.drainAndFind(state.find, port);
      } else if (state.phase === 'reading') {
        this.read(port);
      } else if (state.phase === 'live') {
        this.writer.drain(port);
        this.refresh();
      }
      this.finish();
    });
  }

  resumeReader(): void {
    if (!this.closed) {
      this.resume();
    }
  }

  refresh(): void {
    const { state, audience } = this;
    if (!audience || audience.format === this.wantedFormat) {
      return;
    }
    if (state.phase === 'live') {
      this.hub.lane.fanOut.catchUp(audience, this);
    }
    // The events of that round may have closed the subscriber, or changed its audience already.
    if (this.audience === audience) {
      this.hub.lane.fanOut.leave(audience, this);
      this.enterAgain();
    }
  }

  catchUp(): string | undefined {
    const { lane } = this.hub;
    this.takeRound();
    // If the log was replaced in the meantime, the client still has to receive a `reset`.
    return this.audience && this.reached >= lane.floor ? lane.idAt(this.reached) : undefined;
  }

  restart(continueAfter: (reached: number) => FindStart): void {
    const { state } = this;
    if (state.phase !== 'live') {
      return;
    }
    this.takeRound();
    // The events of that round may have closed the subscriber.
    if (this.state === state) {
      this.hub.lane.fanOut.leave(state.audience, this);
      this.state = { phase: 'draining', find: continueAfter(this.reached) };
      inLaterTurn(() => this.resumeReader());
    }
  }

  endDirect(): void {
    this.audience?.leaveRow(this);
  }

  directPort(seq: number, format: StreamFormat): DirectPort | undefined {
    const { port } = this.writer;
    return this.reached === seq && this.writer.drained && port?.sharedFormat === format ? port.direct : undefined;
  }

  onRowLeft(sent: RowTotals): void {
    this.last = Math.max(this.last, sent.seq);
    this.writer.port?.direct?.endDirect(sent);
  }

  onFull(): void {
    this.endDirect();
    this.writer.port?.direct?.onFull();
  }

  stop(): void {
    this.endDirect();
    const { state, audience } = this;
    this.state = CLOSED;
    this.writer.close();
    if (audience) {
      this.hub.lane.fanOut.leave(audience, this);
    }
    if (state.phase !== 'new' && state.phase !== 'closed') {
      this.hub.onUnsubscribed(this);
    }
    this.onEnd?.();
    this.onEnd = undefined;
  }

  /** Closes the subscriber immediately, and ends its stream cleanly. */
  end(): void {
    if (!this.closed) {
      this.stop();
      this.writer.port?.complete();
    }
  }

  /** Closes the subscriber if its hub is closed and all events that were published before are written. */
  finish(): void {
    if (this.hub.isClosed() && this.state.phase === 'live' && this.writer.drained) {
      this.end();
    }
  }

  deliver(batch: Batch): void {
    this.endDirect();
    const { reached, writer } = this;
    const { port } = writer;
    if (!port || reached >= batch.last) {
      return;
    }
    this.reached = batch.last;
    // Like attempt(), but without a closure for every delivery.
    try {
      if (batch.format && reached < batch.first && !writer.behind && port.ready) {
        this.keepOrDrop(writer.writeBatch(batch, port), port);
        return;
      }
      const { events } = batch;
      const missed = reached < batch.first ? events : events.filter(({ seq }) => seq > reached);
      this.keepOrDrop(writer.write(missed, port), port);
      this.refresh();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    const { port } = this.writer;
    this.stop();
    port?.fail(error);
  }

  /** Receives the rest of the round that is being delivered. */
  private takeRound(): void {
    const { fanOut } = this.hub.lane;
    const { audience } = this;
    if (this.state.phase === 'live' && audience) {
      fanOut.catchUp(audience, this);
      this.reached = Math.max(this.reached, fanOut.delivered);
    }
  }

  private get audience(): Audience | undefined {
    return 'audience' in this.state ? this.state.audience : undefined;
  }

  private get wantedFormat(): Audience['format'] {
    return this.options.filter ? undefined : this.writer.port?.sharedFormat;
  }

  /** Runs a step. An error fails the stream of this subscriber alone. */
  private attempt(run: (port: SharedPort) => void): void {
    const { port } = this.writer;
    if (!port || this.closed) {
      return;
    }
    try {
      run(port);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Disconnects the subscriber if its backlog is full. */
  private keepOrDrop(keep: boolean, port: SharedPort): void {
    if (!keep) {
      this.stop();
      port.overflow();
    }
  }

  private begin(find: FindStart, port: SharedPort): void {
    this.state = LOCATING;
    this.hub.onSubscribed(this);
    // A listener of hub.presence may have closed it.
    if (!this.closed) {
      this.locate(find, port);
    }
  }

  private drainAndFind(find: FindStart, port: SharedPort): void {
    this.writer.drain(port);
    if (this.writer.drained && !this.closed) {
      this.locate(find, port);
    }
  }

  private locate(find: FindStart, port: SharedPort): void {
    this.state = LOCATING;
    const start = find(this);
    if (isThenable(start)) {
      start.then(
        (found) => this.attempt(() => this.startAt(found, port)),
        // A client that has received nothing can resume elsewhere.
        (error: unknown) =>
          error instanceof StreamError && error.code === 'hub-closed' ? this.end() : this.fail(error),
      );
    } else {
      this.startAt(start, port);
    }
  }

  private startAt(start: Start, port: SharedPort): void {
    const { lane } = this.hub;
    const { loss, liveFrom } = start;
    this.state = { phase: 'reading', audience: lane.fanOut.enter(this.options.topics, this.wantedFormat), start };
    if (!loss || loss.topics) {
      this.reached = start.after;
      if (liveFrom !== undefined) {
        // Events before the time of the subscription may be evicted by now. The subscriber has not missed them.
        this.reached = Math.max(start.after, lane.oldestStart(liveFrom));
        port.sendPosition(lane.idAt(this.reached));
      }
    }
    this.read(port);
    this.finish();
  }

  /** Reads the history, one page per turn of the event loop. */
  private read(port: SharedPort): void {
    const { lane } = this.hub;
    const { fanOut } = lane;
    while (this.writer.ready) {
      const { state } = this;
      if (state.phase !== 'reading') {
        return;
      }
      const { start, audience } = state;
      if (start.loss) {
        this.reset(start, state, port);
        continue;
      }
      if (this.reached >= fanOut.readable) {
        this.goLive(audience, port);
        return;
      }
      const page = audience.page(this.reached, fanOut.readable, start.each);
      if (!page) {
        this.continueWithout(state, port);
        continue;
      }
      this.readPage(page, port);
      this.refresh();
      if (this.reached < fanOut.readable && this.writer.ready) {
        inLaterTurn(() => this.resumeReader());
        return;
      }
    }
  }

  /** Continues although the next events are not in memory. */
  private continueWithout(state: Extract<SubscriberState, { readonly phase: 'reading' }>, port: SharedPort): void {
    const { lane } = this.hub;
    const find = lane.continueAfter(this.reached, state.start.each);
    if (find) {
      lane.fanOut.leave(state.audience, this);
      this.locate(find, port);
    } else {
      state.start = { ...state.start, loss: { reason: 'evicted' } };
    }
  }

  private goLive(audience: Audience, port: SharedPort): void {
    this.state = audience.live;
    audience.join(this);
    this.refresh();
    port.onCaughtUp?.();
  }

  private readPage(page: Batch, port: SharedPort): void {
    if (page.format) {
      for (const { shared, count } of page.chunks) {
        this.reached = page.events[count - 1]?.seq ?? page.last;
        if (!port.writeShared(shared)) {
          return;
        }
      }
    } else {
      for (const event of page.events) {
        if (!this.writer.ready) {
          return;
        }
        this.reached = event.seq;
        this.writer.writeOne(event, port);
      }
    }
    this.reached = page.last;
  }

  /** Sends a `reset`, and continues with the oldest event of the history. */
  private reset(start: Start, state: { start: Start }, port: SharedPort): void {
    const { lane } = this.hub;
    const { loss, ...rest } = start;
    state.start = rest;
    if (loss) {
      const { after, data } = lane.reset(loss, start, this.options.topics);
      this.reached = after;
      port.notify(HubEvent.of({ type: 'reset', data }, lane.idAt(after)));
    }
  }

  /** Enters the audience of the current format of its client. */
  private enterAgain(): void {
    const { state } = this;
    if ('audience' in state) {
      const audience = this.hub.lane.fanOut.enter(this.options.topics, this.wantedFormat);
      if (state.phase === 'live') {
        this.state = audience.live;
        audience.join(this);
      } else {
        state.audience = audience;
      }
    }
  }
}
