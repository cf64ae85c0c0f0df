import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { unknownOutcome } from '../broker/broker-errors.js';
import type { AppendKind } from './batch-appender.js';
import type { Row } from './driver.js';
import type { KnownLog } from './known-log.js';
import { inSchema } from './migrations.js';
import { columnsOf, storedOrNull } from './rows.js';

const APPEND = `SELECT epoch, last, positions
FROM "ns".ns_append_entries($1, $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8, $9, $10, $11, $12)`;

export interface HubAppendOptions {
  readonly schema: string;
  readonly trustRestarts: boolean;
  /** Called when entries were appended. */
  readonly onAppended: () => void;
}

/** Appends entries to the log of a hub. */
export function hubAppend(
  log: KnownLog,
  { schema, trustRestarts, onAppended }: HubAppendOptions,
): AppendKind<BrokerEntry, BrokerPosition> {
  const text = inSchema(APPEND, schema);
  return {
    statement: (entries, waitMs) => {
      const { datas, encodings, topics, types, keys } = columnsOf(entries);
      const onces = entries.some(({ once }) => once !== undefined)
        ? entries.map(({ once }) => storedOrNull(once))
        : null;
      const { epoch, offset } = log.newest;
      const settings = [log.topics, trustRestarts, epoch, offset, waitMs];
      return { text, values: [log.stored, datas, encodings, topics, types, keys, onces, ...settings] };
    },
    results: (entries, rows) => {
      const positions = positionsOf(entries, rows[0]);
      const [epoch, last] = rows[0] ?? [];
      log.saw({ epoch: String(epoch), offset: Number(last) });
      onAppended();
      return positions;
    },
    unknown: unknownOutcome,
  };
}

function positionsOf(entries: readonly BrokerEntry[], row: Row | undefined): readonly BrokerPosition[] {
  const [epoch, last, positions] = row ?? [];
  const offsets = positions as readonly unknown[] | null;
  const first = Number(last) - entries.length + 1;
  return entries.map((_, index) => ({
    epoch: String(epoch),
    offset: offsets ? Number(offsets[index]) : first + index,
  }));
}
