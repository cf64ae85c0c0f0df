import type { RecordWindow } from '../broker/record-window.js';
import type { StreamFormat } from '../format/format.js';
import { atEndOfTurn, SLICE_MS } from '../util/scheduler.js';
import { Audience, type AudienceMember } from './audience.js';
import { Batch } from './batch.js';
import type { ByteBudget } from './byte-budget.js';
import type { LogEvent } from './log-event.js';
import { Pages } from './pages.js';
import { Round } from './round.js';

/** So many subscribers are served before others get their turn. */
const WRITES_PER_TURN = 256;
/** Some are served slowly, as by a filter: so the clock is read once for several. */
const WRITES_PER_CLOCK = 8;

interface Delivery {
  readonly audience: Audience;
  readonly batch: Batch;
  readonly to: Iterator<AudienceMember>;
}

/**
 * Takes what was published to those who hear it: all of one turn of the event loop is one round, in which every subscriber
 * is written to once.
 */
export class FanOut {
  /** The number of the last event that is in a round which has begun. Members have been, or will be in this round, given it. */
  delivered = 0;
  private arrived: LogEvent[] = [];
  private deliveries: Delivery[] = [];
  private scheduled = false;
  private onFinished: { readonly upTo: number; resolve(): void }[] = [];
  private readonly audiences = new Map<string, Audience>();
  private readonly toAll = new Set<Audience>();
  private readonly byTopic = new Map<string, Set<Audience>>();
  private readonly formats = new Map<StreamFormat, number>();
  private readonly pages: Pages;

  constructor(history: RecordWindow<LogEvent>, budget: ByteBudget) {
    this.pages = new Pages(history, budget);
  }

  private get idle(): boolean {
    return this.deliveries.length === 0;
  }

  /** Whether nothing is left to be given to anyone. */
  get settled(): boolean {
    return this.idle && this.arrived.length === 0;
  }

  /** Sends in the next round. Numbers follow each other without gaps. */
  send(event: LogEvent): void {
    this.arrived.push(event);
    this.schedule();
  }

  /** Begins after a number: nobody is rounds of what is before it. */
  beginAt(number: number): void {
    this.delivered = number;
  }

  /** Resolves when everyone has been given all that has arrived by now, whatever arrives meanwhile. */
  finished(): Promise<void> {
    const upTo = this.arrived.at(-1)?.seq ?? this.delivered;
    return this.settled
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.onFinished.push({ upTo, resolve });
        });
  }

  /** Those who hear these topics in that format. It is entered: {@link leave} it. */
  enter(topics: readonly string[] | undefined, format: StreamFormat | undefined): Audience {
    const number = this.numberOf(format);
    // Topics have no control characters, so the key tells any two lists apart.
    const key = `${number}${topics ? `\n${topics.join('\n')}` : ''}`;
    const audience = this.audiences.get(key) ?? this.add(new Audience(key, topics, format, number, this.pages));
    audience.enter();
    return audience;
  }

  /** Gives a member what the round that is under way still has for it, before it goes. */
  catchUp(audience: Audience, member: AudienceMember): void {
    for (const delivery of [...this.deliveries]) {
      if (delivery.audience === audience) {
        const { first, last, events } = delivery.batch;
        // One by one: what it shared with the others is not for it any more.
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
      // A microtask would be too early to gather what one turn publishes, and a timer too late.
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
    this.delivered = events.at(-1)?.seq ?? this.delivered;
    const rounds = new Map<Audience, Round>();
    /** What audiences had before an event, and what those that hear it have then. */
    const longer = new Map<Round | undefined, Round>();
    for (const event of events) {
      for (const audience of this.hearing(event)) {
        const before = rounds.get(audience);
        const round = longer.get(before) ?? new Round(event, before);
        longer.set(before, round);
        rounds.set(audience, round);
      }
      longer.clear();
    }
    for (const [audience, round] of rounds) {
      const batch = round.batch(first, this.delivered, audience.format);
      this.deliveries.push({ audience, batch, to: audience.members.values() });
    }
  }

  private *hearing({ topic, isNotice }: LogEvent): Iterable<Audience> {
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
    while (left > 0 && (left % WRITES_PER_CLOCK > 0 || performance.now() < end)) {
      const delivery = this.deliveries[0];
      if (!delivery) {
        return;
      }
      const next = delivery.to.next();
      if (next.done) {
        this.deliveries.shift();
      } else {
        next.value.deliver(delivery.batch);
        left--;
      }
    }
  }
}
