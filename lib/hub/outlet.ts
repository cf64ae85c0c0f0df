import type { HubEvent } from '../event/hub-event.js';
import type { SharedPort } from '../source/shared-source.js';
import type { QueueLimits } from '../util/queue-limits.js';
import { answered, isThenable } from '../util/thenable.js';
import { type Batch, chunksOf } from './batch.js';
import type { LogEvent } from './log-event.js';
import { Backlog, type HubOverflowPolicy } from './overflow.js';

/** About as many bytes are taken from a backlog for one write. */
const GATHER = 16_384;

/** What a subscriber wants. Those who want the same may share it. */
export interface Wish {
  /** Nothing: all. Sorted, each once. */
  readonly topics: readonly string[] | undefined;
  readonly filter: ((event: HubEvent) => boolean) | undefined;
  readonly overflow: HubOverflowPolicy;
  readonly queue: QueueLimits;
}

/** The side of a subscriber that faces its client: what the client cannot take at once waits in its backlog. */
export abstract class Outlet {
  protected port: SharedPort | undefined;
  protected backlog: Backlog | undefined;
  /** Its port wants to be left alone for a while. */
  protected waiting = false;

  constructor(readonly wish: Wish) {}

  get kind(): 'shared' {
    return 'shared';
  }

  get endless(): true {
    return true;
  }

  get queue(): QueueLimits {
    return this.wish.queue;
  }

  connect(port: SharedPort): void {
    this.port = port;
  }

  abstract resume(): void;

  /** What the port can take may have changed. */
  abstract refresh(): void;

  abstract stop(): void;

  /** Ends it at once, and well. */
  end(): void {
    if (!this.over) {
      this.stop();
      this.port?.complete();
    }
  }

  protected abstract readonly over: boolean;

  protected abstract idBefore(event: LogEvent): string;

  /** Runs; what is thrown is the stream of this subscriber failing, and of nobody else. */
  protected attempt(run: (port: SharedPort) => void): void {
    const { port } = this;
    if (!port || this.over) {
      return;
    }
    try {
      run(port);
    } catch (error) {
      this.fail(error);
    }
  }

  protected fail(error: unknown): void {
    const { port } = this;
    this.stop();
    port?.fail(error);
  }

  protected ready(port: SharedPort): boolean {
    return port.ready && !this.waiting && !this.over;
  }

  protected wants({ isNotice, event }: LogEvent): boolean {
    const { filter } = this.wish;
    return !filter || isNotice || answered(filter(event), 'The filter of subscribe()');
  }

  /** Writes what all members of the audience are given. There is room for the first chunk. */
  protected write(batch: Batch, port: SharedPort): void {
    for (const { shared, count } of batch.chunks) {
      if (!port.writeShared(shared)) {
        this.hold(batch.events.slice(count), port);
        return;
      }
    }
  }

  /** Takes events that are not, or cannot be, given to all alike. */
  protected take(all: readonly LogEvent[], port: SharedPort): void {
    const events = this.wish.filter ? all.filter((event) => this.wants(event)) : all;
    const sent = this.backlog ? 0 : this.send(events, port);
    // A hook may have closed the stream meanwhile.
    if (!this.over) {
      this.hold(sent === 0 ? events : events.slice(sent), port);
      this.refresh();
    }
  }

  protected sendOne({ event, isNotice, weight }: LogEvent, port: SharedPort): void {
    const wait = isNotice ? port.tell(event) : port.emit(event, weight);
    if (isThenable(wait)) {
      this.waiting = true;
      Promise.resolve(wait).then(
        () => {
          this.waiting = false;
          this.attempt(() => this.resume());
        },
        (error: unknown) => this.fail(error),
      );
    }
  }

  /** Sends what has waited, while there is room. */
  protected drain(port: SharedPort): void {
    while (this.backlog && this.ready(port)) {
      const format = port.sharedFormat;
      const events = this.backlog.take(format ? GATHER : 0);
      if (this.backlog.empty) {
        this.backlog = undefined;
      }
      if (format) {
        // All of it: what is taken has no place to go back to.
        for (const { shared } of chunksOf(events, format)) {
          port.writeShared(shared);
        }
      } else {
        this.send(events, port);
      }
    }
    this.refresh();
  }

  /** Sends while there is room. How many it sent. */
  private send(events: readonly LogEvent[], port: SharedPort): number {
    const format = port.sharedFormat;
    if (format && this.ready(port)) {
      for (const { shared, count } of chunksOf(events, format)) {
        if (!port.writeShared(shared)) {
          return count;
        }
      }
      return events.length;
    }
    let sent = 0;
    while (sent < events.length && this.ready(port)) {
      this.sendOne(events[sent++] as LogEvent, port);
    }
    return sent;
  }

  private hold(events: readonly LogEvent[], port: SharedPort): void {
    const { overflow, queue } = this.wish;
    for (const event of events) {
      this.backlog ??= new Backlog(overflow, queue, this.idBefore(event), port.losses);
      if (!this.backlog.push(event)) {
        this.stop();
        port.overflow();
        return;
      }
    }
  }
}
