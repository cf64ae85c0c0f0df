/** A cached value, which can be created again after it was evicted. */
export interface Evictable {
  /** About how many bytes of memory evicting it would release. */
  readonly cost: number;
  /** Releases these bytes. */
  evict(): void;
}

/** Limits the bytes of many items in total, by evicting the least recently used ones. */
export class ByteBudget {
  /** The cost that was counted for each item. The most recently used item is last. */
  private readonly costs = new Map<Evictable, number>();
  private bytes = 0;

  constructor(private readonly limit: number) {}

  /** Counts an item with its current cost, and evicts other items until the total is within the limit. */
  use(item: Evictable): void {
    this.release(item);
    const { cost } = item;
    this.costs.set(item, cost);
    this.bytes += cost;
    for (const oldest of this.costs.keys()) {
      if (this.bytes <= this.limit || oldest === item) {
        return;
      }
      this.release(oldest);
      oldest.evict();
    }
  }

  /** Stops counting an item. */
  release(item: Evictable): void {
    this.bytes -= this.costs.get(item) ?? 0;
    this.costs.delete(item);
  }
}
