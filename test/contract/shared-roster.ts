import type { BrokerRoster } from '../../lib/index.js';

interface Listed {
  expires: number;
  readonly figures: Map<string, number>;
}

/** Simulates the roster of a server that several processes share. */
export class SharedRoster implements BrokerRoster {
  private readonly logs = new Map<string, Map<string, Listed>>();

  async put(log: string, process: string, figures: ReadonlyMap<string, number>, ttl: number): Promise<boolean> {
    await turn();
    const processes = this.processesOf(log);
    const before = processes.get(process);
    const now = before ?? { expires: 0, figures: new Map() };
    for (const [name, figure] of figures) {
      if (figure === 0) {
        now.figures.delete(name);
      } else {
        now.figures.set(name, figure);
      }
    }
    now.expires = Date.now() + ttl;
    processes.set(process, now);
    if (ttl === 0) {
      processes.delete(process);
    }
    return before !== undefined;
  }

  async list(log: string, names: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, number>>> {
    await turn();
    return new Map(
      [...this.processesOf(log)].map(([process, { figures }]) => [
        process,
        new Map([...figures].filter(([name]) => names.includes(name))),
      ]),
    );
  }

  private processesOf(log: string): Map<string, Listed> {
    const processes = this.logs.get(log) ?? new Map<string, Listed>();
    this.logs.set(log, processes);
    for (const [process, { expires }] of processes) {
      if (expires <= Date.now()) {
        processes.delete(process);
      }
    }
    return processes;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
