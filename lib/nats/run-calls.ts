import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { PendingAppends, WaitingAppend } from '../broker/pending-appends.js';

/** What a call changes: it creates a log, appends to it, sets when it expires, or removes it. */
export interface RunChange {
  readonly kind: 'create' | 'append' | 'expire' | 'drop';
  readonly entries: readonly BrokerEntry[];
  readonly after: BrokerPosition | undefined;
  /** The time after which the log expires, in milliseconds. `undefined`: when it would have before. */
  readonly ms: number | undefined;
}

/** One call that waits until it is done. */
export class RunCall implements WaitingAppend {
  /** Whether it was sent, and not answered yet. */
  sent = false;
  settled = false;
  readonly time = performance.now();
  readonly entries: number;
  readonly bytes: number;

  constructor(
    readonly change: RunChange,
    private readonly pending: PendingAppends,
    private readonly onDone: (position: BrokerPosition | false) => void,
    private readonly onFailed: (error: Error) => void,
    private readonly onExpired: (call: RunCall) => void,
  ) {
    this.entries = change.entries.length;
    this.bytes = change.entries.reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);
  }

  resolve(position: BrokerPosition | false): void {
    if (this.settle()) {
      this.onDone(position);
    }
  }

  reject(error: Error): void {
    if (this.settle()) {
      this.onFailed(error);
    }
  }

  expire(): void {
    this.onExpired(this);
  }

  private settle(): boolean {
    const first = !this.settled;
    this.settled = true;
    if (first) {
      this.pending.remove(this);
    }
    return first;
  }
}
