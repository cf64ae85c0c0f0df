import type { HubEvent } from '../event/hub-event.js';
import type { SharedPort } from '../source/shared-source.js';
import type { QueueLimits } from '../util/queue-limits.js';
import { isThenable, syncResult } from '../util/thenable.js';
import { type Batch, chunksOf } from './batch.js';
import type { LogEvent } from './log-event.js';
import type { EncodedMember } from './members.js';
import { Backlog, type HubOverflowPolicy } from './overflow.js';

/** About how many bytes are taken from a backlog for one write. */
const GATHER = 16_384;

/** The options of a subscriber. Subscribers with the same options may share the object. */
export interface SubscriberOptions {
  /** Sorted, without duplicates. `undefined`: all topics. */
  readonly topics: readonly string[] | undefined;
  readonly filter: ((event: HubEvent) => boolean) | undefined;
  readonly overflow: HubOverflowPolicy;
  readonly queue: QueueLimits;
  readonly member?: EncodedMember | undefined;
}

/** The part of a subscriber that reads events. */
export interface SubscriberReader {
  /** Called when a promise of the port has resolved, so that there may be room again. */
  resumeReader(): void;
  /** Called when a promise of the port has rejected. */
  fail(error: unknown): void;
}

/** Writes the events of one subscriber to its client. Events for which the client has no room wait in a backlog. */
export class SubscriberWriter {
  port: SharedPort | undefined;
  private backlog: Backlog | undefined;
  /** In `waiting`, a promise of the port has to resolve before the next event. */
  private state: 'free' | 'waiting' | 'closed' = 'free';

  constructor(
    readonly options: SubscriberOptions,
    private readonly reader: SubscriberReader,
  ) {}

  /** Whether the port can accept an event now. */
  get ready(): boolean {
    return this.state === 'free' && this.port?.ready === true;
  }

  /** Whether all events that it has received are written. */
  get drained(): boolean {
    return !this.backlog && this.state !== 'waiting';
  }

  /** Whether events wait in the backlog, so that newer events have to wait behind them. */
  get behind(): boolean {
    return this.backlog !== undefined;
  }

  /** Releases the waiting events. Nothing is written after this call. */
  close(): void {
    this.state = 'closed';
    this.backlog = undefined;
  }

  /**
   * Writes the chunks that all members of an audience share. The port must have room for the first one.
   * @returns `false` if more events wait now than the queue allows, and the subscriber has to be disconnected
   */
  writeBatch(batch: Batch, port: SharedPort): boolean {
    for (const { shared, count } of batch.chunks) {
      if (!port.writeShared(shared)) {
        return this.hold(batch.events.slice(count), port);
      }
    }
    return true;
  }

  /**
   * Writes events that are encoded for this subscriber only, or adds them to the backlog.
   * @returns the same as {@link writeBatch}
   */
  write(all: readonly LogEvent[], port: SharedPort): boolean {
    const events = this.options.filter ? all.filter((event) => this.wants(event)) : all;
    const sent = this.backlog ? 0 : this.send(events, port);
    return this.hold(sent === 0 ? events : events.slice(sent), port);
  }

  /** Writes one event, unless the filter rejects it. The port must have room for it. */
  writeOne(event: LogEvent, port: SharedPort): void {
    if (this.wants(event)) {
      this.sendOne(event, port);
    }
  }

  /** Writes the events of the backlog, while there is room. */
  drain(port: SharedPort): void {
    while (this.backlog && this.ready) {
      const format = port.sharedFormat;
      const events = this.backlog.take(format ? GATHER : 0);
      if (this.backlog.empty) {
        this.backlog = undefined;
      }
      if (format) {
        // All events are written, even if the port is full: they cannot be put back into the backlog.
        for (const { shared } of chunksOf(events, format)) {
          port.writeShared(shared);
        }
      } else {
        this.send(events, port);
      }
    }
  }

  private wants({ isNotice, event }: LogEvent): boolean {
    const { filter } = this.options;
    return !filter || isNotice || syncResult(filter(event), 'The filter of subscribe()');
  }

  /** Sends events while there is room. Returns the number of events that were sent. */
  private send(events: readonly LogEvent[], port: SharedPort): number {
    const format = port.sharedFormat;
    if (format && this.ready) {
      for (const { shared, count } of chunksOf(events, format)) {
        if (!port.writeShared(shared)) {
          return count;
        }
      }
      return events.length;
    }
    let sent = 0;
    while (sent < events.length && this.ready) {
      this.sendOne(events[sent++] as LogEvent, port);
    }
    return sent;
  }

  private sendOne({ event, isNotice, weight }: LogEvent, port: SharedPort): void {
    const wait = isNotice ? port.notify(event) : port.emit(event, weight);
    if (isThenable(wait)) {
      if (this.state === 'free') {
        this.state = 'waiting';
      }
      Promise.resolve(wait).then(
        () => {
          if (this.state === 'waiting') {
            this.state = 'free';
          }
          this.reader.resumeReader();
        },
        (error: unknown) => this.reader.fail(error),
      );
    }
  }

  private hold(events: readonly LogEvent[], port: SharedPort): boolean {
    if (this.state === 'closed') {
      // A hook of the stream has closed the subscriber in the meantime.
      return true;
    }
    const { overflow, queue } = this.options;
    for (const event of events) {
      this.backlog ??= new Backlog(overflow, queue, event.idBefore, port.losses);
      if (!this.backlog.push(event)) {
        return false;
      }
    }
    return true;
  }
}
