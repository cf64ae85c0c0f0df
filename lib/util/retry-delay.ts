import { LONGEST_MS } from './checks.js';

/**
 * A time to come back after, in whole milliseconds: ±50 %, so that many clients do not come back at once. It is never longer than a timer
 * can wait, as clients would come back at once.
 */
export function jittered(retry: number): number {
  return Math.min(LONGEST_MS, Math.round(retry * (0.5 + Math.random())));
}
