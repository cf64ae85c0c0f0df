import type { BrokerRoster } from '../broker/roster.js';
import { LogKeys } from './log-keys.js';
import { PUT_FIGURES, type Script } from './scripts.js';

type Figures = ReadonlyMap<string, number>;

/** Runs commands on the server that has the keys of a log. */
interface RosterStore {
  run(script: Script, keys: readonly string[], ...args: readonly string[]): Promise<unknown>;
  request(args: string[]): Promise<unknown>;
}

/** Keeps the figures of processes in Redis: for each log a hash with the times at which its processes expire, and a hash for each process. */
export class RedisRoster implements BrokerRoster {
  constructor(
    private readonly prefix: string,
    private readonly storeOf: (keys: LogKeys) => RosterStore,
  ) {}

  async put(log: string, process: string, figures: Figures, ttl: number): Promise<boolean> {
    const keys = new LogKeys(this.prefix, log);
    const args = [process, `${ttl}`, ...[...figures].flat().map(String)];
    return (await this.storeOf(keys).run(PUT_FIGURES, [keys.who, keys.figures(process)], ...args)) === 1;
  }

  async list(log: string, names: readonly string[]): Promise<ReadonlyMap<string, Figures>> {
    const keys = new LogKeys(this.prefix, log);
    const store = this.storeOf(keys);
    // The times are those of Redis: the clock of this process may differ.
    const [now, listed] = (await Promise.all([store.request(['TIME']), store.request(['HGETALL', keys.who])])) as [
      string[],
      string[],
    ];
    const processes = listed.filter((_, index) => index % 2 === 0 && Number(listed[index + 1]) > timeOf(now));
    const read = async (process: string): Promise<[string, Figures]> => {
      const values = names.length > 0 ? await store.request(['HMGET', keys.figures(process), ...names]) : [];
      return [process, figuresOf(names, values as (string | null)[])];
    };
    return new Map(await Promise.all(processes.map(read)));
  }
}

/** Returns an answer to TIME in milliseconds since 1970. */
function timeOf([seconds, microseconds]: readonly string[]): number {
  return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
}

function figuresOf(names: readonly string[], values: readonly (string | null)[]): Figures {
  const figures = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    const value = values[index];
    if (value) {
      figures.set(name, Number(value));
    }
  }
  return figures;
}
