import type { BrokerRecord } from '../broker/broker.js';
import type { TopicPage, TopicRecords, TopicRequest } from '../broker/broker-topics.js';
import type { Row, Value } from './driver.js';
import { inSchema } from './migrations.js';
import { COLUMNS, recordOf, storedText } from './rows.js';

type Query = (text: string, values: readonly Value[]) => Promise<readonly Row[]>;

/**
 * Reads about 64 KB of each topic, and at least one record. The columns before those of the record: where the log ends; up to where all records were removed; the
 * number of the request; the position before the oldest record that is kept; the newest position, also of a record that is too old.
 */
const READ = `SELECT l.epoch, l.last, l.expired, t.n, o.previous, m.pos, ${COLUMNS}
FROM "ns".log l
LEFT JOIN unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS t(topic, after, n) ON true
LEFT JOIN LATERAL (
  SELECT max(a.pos) AS pos FROM "ns".record a WHERE a.life = l.life AND a.topic = t.topic AND a.previous IS NOT NULL
) m ON true
LEFT JOIN LATERAL (
  SELECT coalesce((
    SELECT a.pos FROM "ns".record a WHERE a.life = l.life AND a.topic = t.topic AND a.previous IS NOT NULL
    ORDER BY a.pos DESC OFFSET coalesce(l.keep, 9007199254740991) LIMIT 1
  ), 0) AS pos
) b ON true
LEFT JOIN LATERAL (
  SELECT a.pos, a.previous FROM "ns".record a
  WHERE a.life = l.life AND a.topic = t.topic AND a.previous IS NOT NULL AND a.pos > b.pos
    AND (l.ttl IS NULL OR a.time > (extract(epoch FROM now()) * 1000)::bigint - l.ttl)
  ORDER BY a.pos LIMIT 1
) o ON true
LEFT JOIN LATERAL (
  SELECT p.*, sum(pg_column_size(p.data)) OVER (ORDER BY p.pos) - pg_column_size(p.data) AS size_before FROM (
    SELECT * FROM "ns".record a
    WHERE a.life = l.life AND a.topic = t.topic AND a.previous IS NOT NULL AND a.pos > t.after AND a.pos >= o.pos
    ORDER BY a.pos LIMIT $4
  ) p
) r ON r.size_before < 65536
WHERE l.name = $1
ORDER BY t.n, r.pos`;

/** What is known of a topic while rows are read. */
interface Topic extends TopicRecords {
  readonly records: BrokerRecord[];
  more: boolean;
}

/** Returns `undefined` if the log does not exist. */
export async function readTopics(
  query: Query,
  schema: string,
  stored: string,
  requests: readonly TopicRequest[],
  count: number,
): Promise<TopicPage | undefined> {
  const topics = requests.map(({ topic }) => storedText(topic));
  const offsets = requests.map(({ after }) => after);
  const rows = await query(inSchema(READ, schema), [stored, topics, offsets, count]);
  const [first] = rows;
  if (!first) {
    return undefined;
  }
  const position = { epoch: String(first[0]), offset: Number(first[1]) };
  const found = new Map<number, Topic>();
  for (const row of rows) {
    addRow(found, row, position.epoch);
  }
  const none: TopicRecords = { records: [], completeAfter: position.offset, more: false };
  return { position, topics: requests.map((_, index) => found.get(index + 1) ?? none) };
}

function addRow(topics: Map<number, Topic>, row: Row, epoch: string): void {
  const [, , expired, n, oldest, newest, pos] = row;
  const record = pos === null ? undefined : recordOf(row, 6, epoch);
  const more = record !== undefined && record.offset < Number(newest);
  const known = topics.get(Number(n));
  if (known) {
    known.records.push(...(record ? [record] : []));
    known.more = more;
  } else {
    // If the record before the oldest one, or all records of the topic, were removed, it was because of their age.
    const before = Number(oldest ?? newest ?? 0);
    topics.set(Number(n), { records: record ? [record] : [], completeAfter: before || Number(expired), more });
  }
}
