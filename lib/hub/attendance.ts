import { Subject } from 'rxjs';
import type { HubPresence } from './hub.options.js';
import type { Subscriber } from './subscriber.js';

/** Who is there. */
export class Attendance {
  readonly presence = new Subject<HubPresence>();
  private readonly subscribers = new Set<Subscriber>();
  private readonly byTopic = new Map<string, number>();
  private toAll = 0;

  get all(): Iterable<Subscriber> {
    return this.subscribers;
  }

  get topics(): string[] {
    return [...this.byTopic.keys()];
  }

  /** How many hear of a topic; without one, how many there are. */
  size(topic?: string): number {
    return topic === undefined ? this.subscribers.size : (this.byTopic.get(topic) ?? 0) + this.toAll;
  }

  add(subscriber: Subscriber): void {
    this.subscribers.add(subscriber);
    this.count(subscriber, 1);
    this.tell('subscribe', subscriber);
  }

  delete(subscriber: Subscriber): void {
    this.subscribers.delete(subscriber);
    this.count(subscriber, -1);
    this.tell('unsubscribe', subscriber);
  }

  private count({ wish: { topics } }: Subscriber, by: 1 | -1): void {
    if (!topics) {
      this.toAll += by;
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

  private tell(type: HubPresence['type'], { wish: { topics } }: Subscriber): void {
    if (this.presence.observed) {
      this.presence.next({ type, topics, size: this.subscribers.size });
    }
  }
}
