import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { unknownRecords } from '../broker/broker-errors.js';
import type { AppendKind } from './batch-appender.js';
import { inSchema } from './migrations.js';
import { columnsOf } from './rows.js';

const WRITE = `SELECT n, epoch, last
FROM "ns".ns_write_runs($1::text[], $2::boolean[], $3::text[], $4::bigint[], $5::bigint[], $6::int[], $7::int[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13)`;

/** One call of `create()` or `appendAll()`. */
export interface RunWrite {
  /** The name of the log as it is stored. */
  readonly stored: string;
  readonly entries: readonly BrokerEntry[];
  readonly after: BrokerPosition | undefined;
  /** Whether the log is created. */
  readonly creates: boolean;
  /** The time after which the log expires, in whole milliseconds. `undefined`: when it would have before. */
  readonly ms: number | undefined;
}

/** Creates the logs of runs, and appends to them. @param onAppended called for each log, with its stored name and its epoch */
export function runAppend(
  schema: string,
  onAppended: (stored: string, epoch: string) => void,
): AppendKind<RunWrite, BrokerPosition | false> {
  const text = inSchema(WRITE, schema);
  return {
    statement: (writes, waitMs) => {
      const { datas, encodings, topics, types, keys } = columnsOf(writes.flatMap(({ entries }) => entries));
      let next = 1;
      const firsts = writes.map(({ entries }) => {
        const first = next;
        next += entries.length;
        return first;
      });
      const conditions = [
        writes.map(({ stored }) => stored),
        writes.map(({ creates }) => creates),
        writes.map(({ after }) => after?.epoch ?? null),
        writes.map(({ after }) => after?.offset ?? null),
        writes.map(({ ms }) => ms ?? null),
        firsts,
        writes.map(({ entries }) => entries.length),
      ];
      return { text, values: [...conditions, datas, encodings, topics, types, keys, waitMs] };
    },
    results: (writes, rows) => {
      const met = new Map(rows.map(([n, epoch, last]) => [Number(n), { epoch: String(epoch), offset: Number(last) }]));
      return writes.map(({ stored }, index) => {
        const position = met.get(index + 1);
        if (position) {
          onAppended(stored, position.epoch);
        }
        return position ?? false;
      });
    },
    unknown: unknownRecords,
  };
}
