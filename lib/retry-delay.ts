/** A time to come back after, in whole milliseconds: ±50 %, so that many clients do not come back at once. */
export function jittered(retry: number): number {
  return Math.round(retry * (0.5 + Math.random()));
}
