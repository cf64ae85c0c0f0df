import type { BrokerRoster } from '../broker/roster.js';
import type { Row, Value } from './driver.js';
import { inSchema } from './migrations.js';
import { storedText, textOfStored } from './rows.js';

type Figures = ReadonlyMap<string, number>;
type Query = (text: string, values: readonly Value[]) => Promise<readonly Row[]>;

const PUT = 'SELECT "ns".ns_put($1, $2, $3::text[], $4::bigint[], $5)';
const LIST = `SELECT m.process, f.name, f.value FROM "ns".member m
LEFT JOIN "ns".figure f ON f.log = m.log AND f.process = m.process AND f.name = ANY ($2::text[])
WHERE m.log = $1 AND m.expires > clock_timestamp()`;

/** Keeps the figures of processes in two tables that Postgres empties after a crash. */
export class PostgresRoster implements BrokerRoster {
  private readonly putText: string;
  private readonly listText: string;

  constructor(
    private readonly query: Query,
    schema: string,
  ) {
    this.putText = inSchema(PUT, schema);
    this.listText = inSchema(LIST, schema);
  }

  async put(log: string, process: string, figures: Figures, ttl: number): Promise<boolean> {
    const names = [...figures.keys()].map(storedText);
    const values = [storedText(log), process, names, [...figures.values()], Math.ceil(ttl)];
    const [row] = await this.query(this.putText, values);
    return row?.[0] === true;
  }

  async list(log: string, names: readonly string[]): Promise<ReadonlyMap<string, Figures>> {
    const rows = await this.query(this.listText, [storedText(log), names.map(storedText)]);
    const processes = new Map<string, Map<string, number>>();
    for (const [process, name, value] of rows) {
      const figures = processes.get(String(process)) ?? new Map<string, number>();
      processes.set(String(process), figures);
      if (name !== null) {
        figures.set(textOfStored(String(name)), Number(value));
      }
    }
    return processes;
  }
}
