import type { BrokerRecord } from './broker.js';

/** The number of entries in one answer, and about how many characters they may have. */
const MOST_ENTRIES = 512;
const FEWEST_ENTRIES = 8;
const CHARACTERS = 4 * 1024 * 1024;

/** Returns how many entries the next answer may have, so that it is not too large if they are like these. */
export function countAfter(records: readonly BrokerRecord[]): number {
  const characters = records.reduce((sum, { data }) => sum + data.length, 0);
  const fitting = Math.floor((CHARACTERS * records.length) / (characters + 1));
  return Math.min(MOST_ENTRIES, Math.max(FEWEST_ENTRIES, fitting));
}
