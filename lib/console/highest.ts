/** Returns the items with the highest ranks, in order, without sorting all of them. */
export function highest<T>(items: Iterable<T>, count: number, rankOf: (item: T) => number): T[] {
  const best: { readonly item: T; readonly rank: number }[] = [];
  for (const item of items) {
    const rank = rankOf(item);
    const last = best[count - 1];
    if (last === undefined || rank > last.rank) {
      const at = best.findIndex((other) => rank > other.rank);
      best.splice(at < 0 ? best.length : at, 0, { item, rank });
      best.length = Math.min(best.length, count);
    }
  }
  return best.map(({ item }) => item);
}
