import { Subject } from 'rxjs';
import type { HubPresence } from './hub.options.js';
import type { Subscriber } from './subscriber.js';

/** The names of the figures of a hub: all subscribers, and those of all topics. */
export const TOTAL = 'total';
export const ALL_TOPICS = 'all';

/** Returns the name of the figure with the subscribers of a topic, without those of all topics. */
export function ofTopic(topic: string): string {
  return `topic:${topic}`;
}

/** The subscribers of a hub in this process, counted by topic. */
export class Presence {
  /** Emits when a subscriber is added or removed. */
  readonly changes = new Subject<HubPresence>();
  private readonly members = new Set<Subscriber>();
  private readonly byTopic = new Map<string, number>();
  /** The number of subscribers of all topics. */
  private ofAllTopics = 0;

  get subscribers(): Iterable<Subscriber> {
    return this.members;
  }

  get topics(): string[] {
    return [...this.byTopic.keys()];
  }

  /** Returns the number of subscribers. With a topic, counts only those that receive its events. */
  size(topic?: string): number {
    return topic === undefined ? this.members.size : (this.byTopic.get(topic) ?? 0) + this.ofAllTopics;
  }

  /** The numbers of subscribers, for other processes. Figures that are 0 are left out. */
  get figures(): ReadonlyMap<string, number> {
    const { size } = this.members;
    const figures = new Map(size === 0 ? [] : [[TOTAL, size]]);
    if (this.ofAllTopics > 0) {
      figures.set(ALL_TOPICS, this.ofAllTopics);
    }
    for (const [topic, count] of this.byTopic) {
      figures.set(ofTopic(topic), count);
    }
    return figures;
  }

  add(subscriber: Subscriber): void {
    this.members.add(subscriber);
    this.count(subscriber, 1);
    this.emit('subscribe', subscriber);
  }

  delete(subscriber: Subscriber): void {
    this.members.delete(subscriber);
    this.count(subscriber, -1);
    this.emit('unsubscribe', subscriber);
  }

  private count({ options: { topics } }: Subscriber, by: 1 | -1): void {
    if (!topics) {
      this.ofAllTopics += by;
    }
    for (const topic of topics ?? []) {
      const count = (this.byTopic.get(topic) ?? 0) + by;
      if (count === 0) {
        this.byTopic.delete(topic);
      } else {
        this.byTopic.set(topic, count);
      }
    }
  }

  private emit(type: HubPresence['type'], { options: { topics } }: Subscriber): void {
    if (this.changes.observed) {
      this.changes.next({ type, topics, size: this.members.size });
    }
  }
}
