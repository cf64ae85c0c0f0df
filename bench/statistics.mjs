/** @param {readonly number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {readonly number[]} values
 * @param {number} share between 0 and 1
 */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/**
 * Returns the median, lowest and highest value of the rounds.
 * @param {readonly Record<string, number>[]} rounds
 * @param {string} what
 */
export function summary(rounds, what) {
  const values = rounds.map((round) => round[what]);
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Returns the figures minus those of another contestant of the same scenario, within each round.
 * @param {readonly import('./scenarios.mjs').Measured[]} measured
 * @param {import('./scenarios.mjs').Measured} one
 * @param {string | undefined} other
 * @param {string} what
 */
export function differences(measured, one, other, what) {
  const base = measured.find(({ name }) => name === other);
  return base && one.rounds.map((round, i) => round[what] - base.rounds[i][what]);
}

/**
 * Returns the ratios to another contestant of the same scenario, within each round: a slow phase of the machine affects both.
 * @param {readonly import('./scenarios.mjs').Measured[]} measured
 * @param {import('./scenarios.mjs').Measured} one
 * @param {string | undefined} other
 * @param {string} what
 */
export function ratios(measured, one, other, what) {
  const base = measured.find(({ name }) => name === other);
  return base && one.rounds.map((round, i) => round[what] / base.rounds[i][what]);
}

/**
 * Returns the median of the ratios within each round.
 * @param {readonly import('./scenarios.mjs').Measured[]} measured
 * @param {import('./scenarios.mjs').Measured} one
 * @param {string | undefined} other
 * @param {string} what
 */
export function ratio(measured, one, other, what) {
  const all = ratios(measured, one, other, what);
  return all && median(all);
}

/**
 * Returns the median, and the values between which eight of ten are.
 * @param {readonly number[]} values
 */
export const spread = (values) => ({ median: median(values), low: quantile(values, 0.1), high: quantile(values, 0.9) });
