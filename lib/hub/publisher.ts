import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { PublishedLog } from './lane.js';

/** How long a broker may take to deliver an event that it has appended, in milliseconds. */
const BROKER_ECHO_TIMEOUT_MS = 1_000;
/** How long a broker may take to append while its hub closes, in milliseconds. */
const APPEND_TIMEOUT_MS = 2_000;

/** An event that the broker has not confirmed yet. */
interface Pending {
  readonly appended: Promise<BrokerPosition>;
  /** Rejects the promise of `publish()`. */
  reject(error: unknown): void;
}

/**
 * Publishes events, and tracks whether the broker has delivered them back to this process. A broker on another machine does so some time
 * after `append()`.
 */
export class Publisher {
  /** The number of events that were published in this process. */
  count = 0;
  /** The number of events that the broker has not appended, or not confirmed. */
  failed = 0;
  private readonly inFlight = new Set<Pending>();
  /** The position of the last event in the log that was published in this process, and that this process receives. */
  newest: BrokerPosition | undefined;
  private echo: Deferred<void> | undefined;
  /** Whether `append()` of the broker has a time limit. */
  private closing = false;

  constructor(private readonly log: PublishedLog) {}

  /** Resolves to the id of the event, once it is in the log. */
  publish(entry: BrokerEntry): Promise<string> {
    return new Promise((resolve, reject) => {
      const isExpected = this.log.expects(entry.topic);
      const appended = this.log.append(entry);
      const pending: Pending = { appended, reject };
      this.inFlight.add(pending);
      appended.then(
        (position) => {
          this.inFlight.delete(pending);
          this.note(position, isExpected);
          resolve(this.log.id(position));
        },
        (error: unknown) => {
          // If it is not in flight any more, its promise was rejected before.
          this.failed += this.inFlight.delete(pending) ? 1 : 0;
          reject(error);
        },
      );
      if (this.closing) {
        void this.awaitPending([pending]);
      }
    });
  }

  /** The number of events that wait for the broker to confirm them. */
  get pending(): number {
    return this.inFlight.size;
  }

  /** Called when the broker has delivered an event to this process. */
  onDelivered(): void {
    if (this.allDelivered) {
      this.echo?.resolve();
    }
  }

  /**
   * Resolves when the broker has delivered all events that this process has published, or has taken too long. From now on, `append()` of the
   * broker has a time limit too.
   */
  async settled(): Promise<void> {
    this.closing = true;
    await this.awaitPending([...this.inFlight]);
    if (!this.allDelivered) {
      this.echo ??= deferred();
      await atMost(BROKER_ECHO_TIMEOUT_MS, this.echo.promise);
      this.echo = undefined;
    }
  }

  /** Waits for pending events, and rejects those that take too long: otherwise `publish()` would never settle. */
  private async awaitPending(pending: readonly Pending[]): Promise<void> {
    if (await atMost(APPEND_TIMEOUT_MS, Promise.allSettled(pending.map(({ appended }) => appended)))) {
      return;
    }
    const late = pending.filter((each) => this.inFlight.delete(each));
    this.failed += late.length;
    const { name } = this.log;
    for (const { reject } of late) {
      reject(
        new StreamError(
          'hub-closed',
          `The hub "${name}" is closing, and its broker has not appended the event within ${APPEND_TIMEOUT_MS} ms: it may or may not be in the log`,
        ),
      );
    }
    if (late.length > 0) {
      this.log.warn(
        `The hub "${name}" gave up waiting for its broker: append() of ${late.length} events took more than ${APPEND_TIMEOUT_MS} ms`,
      );
    }
  }

  private note(position: BrokerPosition, isExpected: boolean): void {
    this.count++;
    const { newest } = this;
    if (!isExpected) {
      return;
    }
    if (newest?.epoch !== position.epoch || newest.offset < position.offset) {
      this.newest = position;
    }
  }

  private get allDelivered(): boolean {
    return this.newest === undefined || this.log.isDelivered(this.newest);
  }
}
