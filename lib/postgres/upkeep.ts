import type { Database } from './database.js';
import { inSchema } from './migrations.js';

/** How often records that are not needed any more are removed, in milliseconds. */
const EVERY_MS = 1_000;
/** Logs of hubs are looked at with every fifth call. */
const HUBS_EVERY = 5;
/** How many records one statement removes from a log. */
const MOST = 5_000;
const TRIM = 'SELECT "ns".ns_trim($1, $2)';
const SWEEP = 'SELECT "ns".ns_sweep($1)';

export interface UpkeepOptions {
  readonly schema: string;
  /** Returns the stored names of the logs of hubs. */
  readonly names: () => readonly string[];
  /** Looks for logs of hubs that were lost. */
  readonly check: () => Promise<void>;
  /** Returns whether this process has used logs of runs. */
  readonly hasRuns: () => boolean;
}

/**
 * Removes what is not needed any more, in small parts, since a long transaction would keep others from removing theirs. Every process does it, and two never do the same
 * at the same time.
 */
export class Upkeep {
  private timer: NodeJS.Timeout | undefined;
  private turn = 0;
  private closed = false;

  constructor(
    private readonly database: Database,
    private readonly options: UpkeepOptions,
  ) {}

  start(): void {
    if (this.timer === undefined && !this.closed) {
      // Processes that were started together do it at different times.
      const wait = EVERY_MS * (0.75 + Math.random() / 2);
      this.timer = setTimeout(() => void this.run(), wait).unref();
    }
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    try {
      await this.removeAll();
    } catch {
      // Another call, of this process or of another one, removes it.
    }
    this.timer = undefined;
    this.start();
  }

  private async removeAll(): Promise<void> {
    const { schema, names, check, hasRuns } = this.options;
    const isHubTurn = this.turn++ % HUBS_EVERY === 0;
    if (isHubTurn) {
      await check();
      for (const name of names()) {
        await this.whileMore(inSchema(TRIM, schema), [name, MOST]);
      }
    }
    if (isHubTurn || hasRuns()) {
      await this.whileMore(inSchema(SWEEP, schema), [MOST]);
    }
  }

  private async whileMore(text: string, values: readonly (string | number)[]): Promise<void> {
    for (let more = true; more && !this.closed; ) {
      const [row] = await this.database.query(text, values);
      more = row?.[0] === true;
    }
  }
}
