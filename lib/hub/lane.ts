import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { HubReset } from '../event/hub-event.js';
import type { FanOut } from './fan-out.js';
import type { FindStart, Loss, Start, StartRequest } from './start.js';

/** The events of a hub, as subscribers read them: first those that are in the log already, and then those that arrive, from the fan-out. */
export interface Lane {
  readonly fanOut: FanOut;
  /** The sequence number at which the epoch of the log starts. */
  readonly floor: number;
  /** Returns the id of the event with a sequence number. For an event before the current epoch, returns the id of its start. */
  idAt(number: number): string;
  /** Returns the sequence number after which a client starts that has not missed the events before another one, also if they are evicted. */
  oldestStart(number: number): number;
  /** Returns the function that finds out where a client starts which subscribes now. */
  requestOf(request: StartRequest): FindStart;
  /**
   * Returns the function that finds out where a subscriber continues if the events after a sequence number are not in memory. `undefined`: they are lost.
   * @param each for topics that start later: the sequence number after which their events follow
   */
  continueAfter(number: number, each: ReadonlyMap<string, number> | undefined): FindStart | undefined;
  /** Returns where a client of some topics continues after a `reset`, and the data of the `reset`. */
  reset(
    loss: Loss,
    start: Start,
    topics: readonly string[] | undefined,
  ): { readonly after: number; readonly data: HubReset };
  /** Called when a subscriber of topics has subscribed, so that their events are received. */
  enter(topics: readonly string[] | undefined): void;
  /** Called when such a subscriber has left. */
  leave(topics: readonly string[] | undefined): void;
}

/** The log of a hub, as far as it is appended to. */
export interface PublishedLog {
  readonly name: string;
  append(entry: BrokerEntry): Promise<BrokerPosition>;
  id(position: BrokerPosition): string;
  /** Returns whether this process receives the events of a topic, so that it will receive one that it has published. */
  expects(topic: string | undefined): boolean;
  /** Returns whether the record at a position was delivered to this process, or never will be. */
  isDelivered(position: BrokerPosition): boolean;
  warn(message: string, error?: unknown): void;
}

/** The log of a hub in this process. */
export interface HubLog extends PublishedLog {
  /** The number of events that this process has received, and how many events are in its memory. */
  readonly figures: { readonly received: number; readonly kept: number };
  /** Starts to receive records. */
  open(): Promise<void>;
  /** Opens the log only to append to it. No records are received. */
  openToAppend(): Promise<void>;
  /** Returns the lane for subscribers of some topics, or of all. */
  laneOf(topics: readonly string[] | undefined): Lane;
  /** Resolves when every event that has arrived is delivered. */
  finished(): Promise<void>;
  /** Stops repeating reads that fail. */
  stopRetrying(): void;
  /** Stops receiving records. The records in memory can still be read. */
  close(): Promise<void>;
  /** Ends the waiting of all subscribers that have not started. */
  endStarts(): void;
  /** Releases the records in memory. */
  clear(): void;
}
