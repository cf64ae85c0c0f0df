import type { StreamFormat } from '../format/format.js';
import { atEndOfTurn, SLICE_MS } from '../util/scheduler.js';
import { Audience, type AudienceMember } from './audience.js';
import { Batch } from './batch.js';
import { Delivery } from './delivery.js';
import type { LogEvent } from './log-event.js';
import type { PageSource } from './pages.js';
import { Round } from './round.js';

/** The number of writes to subscribers before the event loop may run other tasks. */
const WRITES_PER_TURN = 256;
/** Some writes are slow, for example because of a filter, so a turn is limited in time too. The clock is read once for this number of writes. */
const WRITES_PER_CLOCK = 8;
/** The number of writes to the sockets of a row before the clock is read. */
const WRITES_PER_STEP = 64;

/**
 * Delivers events to live subscribers. All events of one turn of the event loop are one round, in which every subscriber is written to
 * once.
 */
export class FanOut {
  /** The sequence number of the last event in the rounds that have begun. All members have received that event, or will receive it in this round. */
  delivered = 0;
  /** All events up to this sequence number have arrived, as far as it was noted. */
  private upTo = 0;
  private arrived: LogEvent[] = [];
  private deliveries: Delivery[] = [];
  private scheduled = false;
  private onFinished: { readonly upTo: number; resolve(): void }[] = [];
  private readonly audiences = new Map<string, Audience>();
  private readonly toAll = new Set<Audience>();
  private readonly byTopic = new Map<string, Set<Audience>>();
  private readonly formats = new Map<StreamFormat, number>();

  /** @param pages the events that subscribers read before they are live */
  constructor(private readonly pages: PageSource) {}

  private get idle(): boolean {
    return this.deliveries.length === 0;
  }

  /** Whether every event is delivered. */
  get settled(): boolean {
    return this.idle && this.arrived.length === 0;
  }

  /** Adds an event to the next round. Sequence numbers increase. */
  send(event: LogEvent): void {
    this.arrived.push(event);
    this.schedule();
  }

  /** Sets the sequence number after which events are delivered. Events that wait are dropped. */
  startAfter(number: number): void {
    this.arrived = [];
    for (const { audience } of this.deliveries) {
      // Some of its members were sent the batch.
      audience.dissolveRow();
    }
    this.deliveries = [];
    this.delivered = number;
    this.upTo = number;
    this.resolveFinished();
  }

  /** Notes that all events up to a sequence number have arrived, also if there is none with that number. */
  advance(number: number): void {
    this.upTo = Math.max(this.upTo, number);
    if (this.arrived.length === 0) {
      this.delivered = Math.max(this.delivered, this.upTo);
    }
  }

  /** The sequence number up to which subscribers read before they are live. */
  get readable(): number {
    return Math.max(this.delivered, this.upTo);
  }

  /** Returns the live subscribers of a topic, or all. */
  members(topic?: string): AudienceMember[] {
    const audiences = topic === undefined ? this.audiences.values() : (this.byTopic.get(topic) ?? []);
    return [...audiences].flatMap(({ members }) => members);
  }

  /** Resolves when every event that has arrived before this call is delivered. It does not wait for later events. */
  finished(): Promise<void> {
    const upTo = this.arrived.at(-1)?.seq ?? this.delivered;
    return this.settled
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.onFinished.push({ upTo, resolve });
        });
  }

  /** Returns the audience of topics in a format, and counts the caller as a user of it: call {@link leave} when done. */
  enter(topics: readonly string[] | undefined, format: StreamFormat | undefined): Audience {
    const number = this.numberOf(format);
    // Topics have no control characters, so that two different lists never have the same key.
    const key = `${number}${topics ? `\n${topics.join('\n')}` : ''}`;
    const audience = this.audiences.get(key) ?? this.add(new Audience(key, topics, format, number, this.pages));
    audience.enter();
    return audience;
  }

  /** Delivers the remaining events of the current round to a member that is about to leave its audience. */
  catchUp(audience: Audience, member: AudienceMember): void {
    for (const delivery of [...this.deliveries]) {
      if (delivery.audience === audience) {
        const { first, last, events } = delivery.batch;
        // As single events, since the member no longer receives the bytes of its audience.
        member.deliver(new Batch(first, last, events, undefined));
      }
    }
  }

  leave(audience: Audience, member: AudienceMember): void {
    audience.leave(member);
    if (audience.unused) {
      this.audiences.delete(audience.key);
      this.toAll.delete(audience);
      for (const topic of audience.topics ?? []) {
        const others = this.byTopic.get(topic);
        others?.delete(audience);
        if (others?.size === 0) {
          this.byTopic.delete(topic);
        }
      }
    }
  }

  private numberOf(format: StreamFormat | undefined): number {
    if (!format) {
      return 0;
    }
    const number = this.formats.get(format) ?? this.formats.size + 1;
    this.formats.set(format, number);
    return number;
  }

  private add(audience: Audience): Audience {
    const { key, topics } = audience;
    this.audiences.set(key, audience);
    if (!topics) {
      this.toAll.add(audience);
    }
    for (const topic of topics ?? []) {
      const others = this.byTopic.get(topic) ?? new Set();
      this.byTopic.set(topic, others.add(audience));
    }
    return audience;
  }

  private schedule(): void {
    if (!this.scheduled) {
      this.scheduled = true;
      // A microtask would run too early to collect all events of one turn, and a timer too late.
      atEndOfTurn(() => {
        this.scheduled = false;
        this.run();
      });
    }
  }

  private run(): void {
    if (this.idle) {
      this.beginRound();
    }
    this.deliver();
    if (this.idle) {
      this.resolveFinished();
    }
    if (!this.settled) {
      this.schedule();
    }
  }

  private resolveFinished(): void {
    const waiting = this.onFinished;
    this.onFinished = waiting.filter(({ upTo }) => upTo > this.delivered);
    for (const { upTo, resolve } of waiting) {
      if (upTo <= this.delivered) {
        resolve();
      }
    }
  }

  private beginRound(): void {
    const events = this.arrived;
    const first = this.delivered + 1;
    this.arrived = [];
    this.delivered = Math.max(events.at(-1)?.seq ?? this.delivered, this.upTo);
    if (this.audiences.size === 0) {
      return;
    }
    const rounds = new Map<Audience, Round>();
    /** For one event: maps the round of an audience before this event to its round with this event. */
    const longer = new Map<Round | undefined, Round>();
    for (const event of events) {
      for (const audience of this.audiencesOf(event)) {
        const before = rounds.get(audience);
        const round = longer.get(before) ?? new Round(event, before);
        longer.set(before, round);
        rounds.set(audience, round);
      }
      longer.clear();
    }
    for (const [audience, round] of rounds) {
      this.deliveries.push(new Delivery(audience, round.batch(first, this.delivered, audience.format)));
    }
  }

  private *audiencesOf({ topic, isNotice }: LogEvent): Iterable<Audience> {
    if (isNotice) {
      yield* this.audiences.values();
      return;
    }
    yield* this.toAll;
    yield* (topic === undefined ? undefined : this.byTopic.get(topic)) ?? [];
  }

  private deliver(): void {
    const end = performance.now() + SLICE_MS;
    let left = WRITES_PER_TURN;
    let unchecked = 0;
    while (left > 0) {
      if (unchecked >= WRITES_PER_CLOCK) {
        if (performance.now() >= end) {
          return;
        }
        unchecked = 0;
      }
      const delivery = this.deliveries[0];
      if (!delivery) {
        return;
      }
      const writes = delivery.step(Math.min(left, WRITES_PER_STEP));
      if (writes === 0) {
        this.deliveries.shift();
      }
      left -= writes;
      unchecked += writes;
    }
  }
}
