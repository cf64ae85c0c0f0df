import type { FanOut } from './fan-out.js';
import type { History } from './history.js';
import type { Subscriber } from './subscriber.js';

/** What subscribers of a hub share. */
export interface SubscriberHub {
  readonly history: History;
  readonly fanOut: FanOut;
  /** Whether it has ended: its members have been given everything that is not in their backlogs. */
  isClosed(): boolean;
  entered(subscriber: Subscriber): void;
  left(subscriber: Subscriber): void;
}
