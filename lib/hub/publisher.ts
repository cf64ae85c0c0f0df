import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { StreamError } from '../errors.js';
import { atMost } from '../util/at-most.js';
import type { History } from './history.js';

/** How long a broker may take to tell of what it has taken, in milliseconds. */
const ECHO_TIMEOUT_MS = 1_000;
/** How long a broker may take to append while its hub closes, in milliseconds. */
const APPEND_TIMEOUT_MS = 2_000;

/** An event on its way to the broker. */
interface Pending {
  readonly appended: Promise<BrokerPosition>;
  /** Rejects the promise of whoever publishes it. */
  reject(error: unknown): void;
}

/** Publishes, and knows when what was published has come back: a broker on another machine tells of it later than it takes it. */
export class Publisher {
  /** How many have been published here. */
  count = 0;
  private readonly inFlight = new Set<Pending>();
  /** The last in the log of what was published here. */
  private newest: BrokerPosition | undefined;
  private echo: { readonly promise: Promise<void>; resolve(): void } | undefined;
  /** Whether the broker has no more than a limited time to append. */
  private closing = false;

  constructor(private readonly history: History) {}

  /** Resolves to the id of the event, once it is in the log. */
  publish(entry: BrokerEntry): Promise<string> {
    return new Promise((resolve, reject) => {
      const appended = this.history.append(entry);
      const pending: Pending = { appended, reject };
      this.inFlight.add(pending);
      appended.then(
        (position) => {
          this.inFlight.delete(pending);
          this.note(position);
          resolve(this.history.id(position));
        },
        (error: unknown) => {
          this.inFlight.delete(pending);
          reject(error);
        },
      );
      if (this.closing) {
        void this.answered([pending]);
      }
    });
  }

  /** This process has been told of something. */
  told(): void {
    if (this.isTold) {
      this.echo?.resolve();
    }
  }

  /**
   * Resolves when this process has been told of everything it has published, or the broker has been waited for in vain. From then on, what
   * is published is waited for no longer either.
   */
  async settled(): Promise<void> {
    this.closing = true;
    await this.answered([...this.inFlight]);
    if (!this.isTold) {
      this.echo ??= echo();
      await atMost(ECHO_TIMEOUT_MS, this.echo.promise);
      this.echo = undefined;
    }
  }

  /** Waits for what is on its way, and gives it up where that takes too long: else those who publish would wait for ever. */
  private async answered(pending: readonly Pending[]): Promise<void> {
    if (await atMost(APPEND_TIMEOUT_MS, Promise.allSettled(pending.map(({ appended }) => appended)))) {
      return;
    }
    const late = pending.filter((each) => this.inFlight.delete(each));
    const { name } = this.history;
    for (const { reject } of late) {
      reject(
        new StreamError(
          'hub-closed',
          `The hub "${name}" is closing, and its broker has not appended the event within ${APPEND_TIMEOUT_MS} ms: it may or may not be in the log`,
        ),
      );
    }
    if (late.length > 0) {
      this.history.warn(
        `The hub "${name}" gave up waiting for its broker: append() of ${late.length} events took more than ${APPEND_TIMEOUT_MS} ms`,
      );
    }
  }

  private note(position: BrokerPosition): void {
    this.count++;
    const { newest } = this;
    if (newest?.epoch !== position.epoch || newest.offset < position.offset) {
      this.newest = position;
    }
  }

  private get isTold(): boolean {
    return this.newest === undefined || this.history.isAt(this.newest);
  }
}

function echo(): { readonly promise: Promise<void>; resolve(): void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
