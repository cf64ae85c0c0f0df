import type { Database } from './database.js';
import { tokenOf } from './tail-reader.js';

/** The longest text that Postgres accepts in a notification has 7 999 bytes. */
const MOST_TOKENS = 600;
/** Notifications are no data: nothing is lost if the disk does not have them. */
const NOTIFY = `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`;

/**
 * Notifies the other processes of logs that have new records, in a transaction of its own: Postgres commits transactions with notifications one after the other.
 * At most one notification is sent in a time, for all logs together.
 */
export class Doorbell {
  private readonly tokens = new Set<string>();
  private sentAt = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private sending = false;
  private closed = false;

  /** @param pace the shortest time between two notifications, in milliseconds */
  constructor(
    private readonly database: Database,
    private readonly channel: string,
    private readonly pace: number,
  ) {}

  ring(stored: string): void {
    this.tokens.add(tokenOf(stored));
    this.sendLater();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private sendLater(): void {
    if (this.timer !== undefined || this.sending || this.closed) {
      return;
    }
    const wait = this.sentAt + this.pace - performance.now();
    if (wait <= 0) {
      void this.send();
    } else {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        void this.send();
      }, wait);
    }
  }

  private async send(): Promise<void> {
    this.sending = true;
    this.sentAt = performance.now();
    const tokens = this.tokens.size > MOST_TOKENS ? '' : [...this.tokens].join(',');
    this.tokens.clear();
    try {
      await this.database.query(NOTIFY, [this.channel, tokens]);
    } catch {
      // The other processes look for new records from time to time.
    }
    this.sending = false;
    if (this.tokens.size > 0) {
      this.sendLater();
    }
  }
}
