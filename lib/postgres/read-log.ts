import type { BrokerRecord } from '../broker/broker.js';
import type { Row, Value } from './driver.js';
import { inSchema } from './migrations.js';
import { COLUMNS, recordOf } from './rows.js';

type Query = (text: string, values: readonly Value[]) => Promise<readonly Row[]>;

/** Reads about a megabyte of a log, and at least one record. The age and the number of records that a hub keeps hide the others. */
const READ = `SELECT l.epoch, ${COLUMNS} FROM "ns".log l
JOIN LATERAL (
  SELECT p.*, sum(pg_column_size(p.data)) OVER (ORDER BY p.pos) - pg_column_size(p.data) AS size_before FROM (
    SELECT * FROM "ns".record a
    WHERE a.life = l.life AND a.pos > greatest($2, l.last - l.keep) AND (l.ttl IS NULL OR a.time > (extract(epoch FROM now()) * 1000)::bigint - l.ttl)
    ORDER BY a.pos LIMIT $3
  ) p
) r ON r.size_before < 1048576
WHERE l.name = $1 AND (l.expires IS NULL OR l.expires > now())
ORDER BY r.pos`;

export async function readLog(
  query: Query,
  schema: string,
  stored: string,
  after: number,
  count: number,
): Promise<readonly BrokerRecord[]> {
  const rows = await query(inSchema(READ, schema), [stored, after, count]);
  return rows.map((row) => recordOf(row, 1, String(row[0])));
}
