import type { BrokerRoster } from '../broker/roster.js';

/** How often every process stores its figures, in milliseconds. Tests make it shorter. */
export const ROUND = { ms: 5_000 };
/** The time after which a process that has crashed is removed, in milliseconds. Two rounds, and time for the broker to store the figures. */
const TTL_MS = 12_000;

type Figures = ReadonlyMap<string, number>;

/** The figures of this process in the roster of one log. Only figures that have changed are stored again. */
export class Sheet {
  /** The figures in the roster. `NaN`, which equals no figure, if it is not known which of them is there. */
  private stored: Figures = new Map();
  private running: Promise<void> | undefined;
  private again = false;

  /** @param figures returns the current figures */
  constructor(
    private readonly roster: BrokerRoster,
    private readonly log: string,
    private readonly process: string,
    private readonly figures: () => Figures,
  ) {}

  /** Stores the current figures. Rejects if the broker cannot store them: then all are stored the next time. */
  put(): Promise<void> {
    if (this.running) {
      this.again = true;
    }
    this.running ??= this.run();
    return this.running;
  }

  /** Removes this process from the roster of the log. */
  async remove(): Promise<void> {
    await this.running?.catch(() => undefined);
    await this.roster.put(this.log, this.process, new Map(), 0);
  }

  private async run(): Promise<void> {
    try {
      do {
        this.again = false;
        await this.store(this.figures());
      } while (this.again);
    } finally {
      // In the turn of the last check of `again`: a call of put() after it starts another run.
      this.running = undefined;
    }
  }

  private async store(figures: Figures): Promise<void> {
    const { roster, log, process, stored } = this;
    // If this fails, all are stored again the next time, and those that are gone by then are removed.
    this.stored = new Map([...stored.keys(), ...figures.keys()].map((name) => [name, Number.NaN]));
    const known = await roster.put(log, process, changes(stored, figures), TTL_MS);
    if (!known && stored.size > 0) {
      await roster.put(log, process, figures, TTL_MS);
    }
    this.stored = figures;
  }
}

/** Returns the figures that are new or different, and 0 for those that are gone. */
function changes(before: Figures, now: Figures): Figures {
  const changed = new Map([...now].filter(([name, figure]) => before.get(name) !== figure));
  for (const name of before.keys()) {
    if (!now.has(name)) {
      changed.set(name, 0);
    }
  }
  return changed;
}
