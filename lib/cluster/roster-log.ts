import type { Broker } from '../broker/broker.js';
import type { BrokerRoster } from '../broker/roster.js';
import { MessageLog } from './message-log.js';

const ROSTER_LOG = '~roster';

/** Longer than a process is in the roster without being put again, so that a new process reads the others from the log. */
const KEPT = { limit: 10_000, ttl: 15_000 };

type Figures = ReadonlyMap<string, number>;

/** All figures of one process in one log. */
interface Put {
  readonly log: string;
  readonly process: string;
  readonly figures: readonly (readonly [string, number])[];
  readonly ttl: number;
  readonly at: number;
}

interface Listed {
  readonly figures: Figures;
  readonly expires: number;
}

/**
 * The roster of processes that share a broker which has none: each process appends its figures to a log, and keeps those of all processes in
 * memory. An entry of the log has all figures of a process, as a new process does not know the earlier ones.
 */
export class RosterLog implements BrokerRoster {
  private readonly listed = new Map<string, Map<string, Listed>>();
  /** The figures of this process, by log and process. */
  private readonly own = new Map<string, Map<string, number>>();
  private readonly openedAt = Date.now();

  private constructor(private readonly log: MessageLog<Put>) {}

  static async open(broker: Broker, warn: (message: string, error?: unknown) => void): Promise<RosterLog> {
    const log = await MessageLog.open<Put>(ROSTER_LOG, KEPT, broker, warn);
    const roster = new RosterLog(log);
    // Figures that were lost are put again in the next round.
    log.receive(KEPT.limit, { onMessage: (put) => roster.take(put), onReset: () => undefined });
    return roster;
  }

  async put(log: string, process: string, changes: Figures, ttl: number): Promise<boolean> {
    const key = `${process} ${log}`;
    const known = this.own.has(key);
    const figures = this.own.get(key) ?? new Map<string, number>();
    for (const [name, figure] of changes) {
      if (figure === 0) {
        figures.delete(name);
      } else {
        figures.set(name, figure);
      }
    }
    this.own.set(key, figures);
    if (ttl === 0) {
      this.own.delete(key);
    }
    const put: Put = { log, process, figures: [...figures], ttl, at: Date.now() };
    this.take(put);
    await this.log.send(put);
    return known;
  }

  async list(log: string, names: readonly string[]): Promise<ReadonlyMap<string, Figures>> {
    return new Map([...this.current(log)].map(([process, { figures }]) => [process, select(figures, names)]));
  }

  close(): Promise<void> {
    return this.log.close();
  }

  private take({ log, process, figures, ttl, at }: Put): void {
    // The clock of another process may be wrong. It is only used for entries that are older than this object.
    const since = at < this.openedAt ? at : Date.now();
    this.current(log).set(process, { figures: new Map(figures), expires: since + ttl });
  }

  /** Returns the processes in the roster of a log, without those whose time is over. */
  private current(log: string): Map<string, Listed> {
    const processes = this.listed.get(log) ?? new Map<string, Listed>();
    this.listed.set(log, processes);
    const now = Date.now();
    for (const [process, { expires }] of processes) {
      if (expires <= now) {
        processes.delete(process);
      }
    }
    return processes;
  }
}

function select(figures: Figures, names: readonly string[]): Figures {
  const selected = new Map<string, number>();
  for (const name of names) {
    const figure = figures.get(name);
    if (figure !== undefined) {
      selected.set(name, figure);
    }
  }
  return selected;
}
