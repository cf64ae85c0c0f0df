/**
 * Returns the items with the highest ranks, in order, without sorting all of them.
 * @param tieOf decides between items with the same rank. By default, the first of them is higher
 */
export function highest<T>(
  items: Iterable<T>,
  count: number,
  rankOf: (item: T) => number,
  tieOf: (item: T) => number = () => 0,
): T[] {
  const best: { readonly item: T; readonly rank: number }[] = [];
  for (const item of items) {
    const rank = rankOf(item);
    const isAbove = (other: (typeof best)[number]): boolean =>
      rank > other.rank || (rank === other.rank && tieOf(item) > tieOf(other.item));
    const last = best[count - 1];
    if (last === undefined || isAbove(last)) {
      const at = best.findIndex(isAbove);
      best.splice(at < 0 ? best.length : at, 0, { item, rank });
      best.length = Math.min(best.length, count);
    }
  }
  return best.map(({ item }) => item);
}
