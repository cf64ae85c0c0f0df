import type { BrokerRoster } from '../broker/roster.js';
import type { Connection } from './connection.js';
import { LogKeys } from './log-keys.js';
import { PROCESSES, PUT } from './scripts.js';

type Figures = ReadonlyMap<string, number>;

/** Runs commands on a connection to the server that has the keys of a log. */
type OnServer = <T>(keys: LogKeys, commands: (connection: Connection) => Promise<T>) => Promise<T>;

/** Keeps the figures of each process in a hash, and the processes of each log in a sorted set by the time at which they expire. */
export class RedisRoster implements BrokerRoster {
  /** How many calls of `put()` Redis has acknowledged for a process in a log. If Redis knows of fewer, it has lost figures. */
  private readonly calls = new Map<string, number>();

  constructor(
    private readonly prefix: string,
    private readonly onServer: OnServer,
  ) {}

  async put(log: string, process: string, figures: Figures, ttl: number): Promise<boolean> {
    const keys = new LogKeys(this.prefix, log);
    const place = keys.figures(process);
    const known = this.calls.get(place) ?? 0;
    const removed = [...figures].filter(([, figure]) => figure === 0).map(([name]) => name);
    const stored = [...figures].filter(([, figure]) => figure !== 0).flatMap(([name, figure]) => [name, `${figure}`]);
    const head = [process, `${Math.ceil(ttl)}`, `${known}`, `${removed.length}`];

    const calls = Number(
      await this.onServer(keys, (connection) => connection.run(PUT, [keys.who, place], ...head, ...removed, ...stored)),
    );

    if (ttl > 0) {
      this.calls.set(place, calls);
    } else {
      this.calls.delete(place);
    }
    return calls > 1;
  }

  list(log: string, names: readonly string[]): Promise<ReadonlyMap<string, Figures>> {
    const keys = new LogKeys(this.prefix, log);
    return this.onServer(keys, async (connection) => {
      const processes = (await connection.run(PROCESSES, [keys.who])) as string[];
      const listed = processes.map(async (process) => {
        const key = keys.figures(process);
        const values = names.length > 0 ? await connection.request(['HMGET', key, ...names]) : [];
        return [process, figuresOf(names, values as (string | null)[])] as const;
      });
      return new Map(await Promise.all(listed));
    });
  }
}

/** @param values the value for each name, or `null` */
function figuresOf(names: readonly string[], values: readonly (string | null)[]): Figures {
  const figures = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    const value = values[index] ?? null;
    if (value !== null) {
      figures.set(name, Number(value));
    }
  }
  return figures;
}
