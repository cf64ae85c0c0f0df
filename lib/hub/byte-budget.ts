/** A cached value: it can be made again. */
export interface Evictable {
  /** About how many bytes of memory evicting it would release. */
  readonly cost: number;
  /** Releases these bytes. */
  evict(): void;
}

/** Bounds the bytes of many items: the least recently used items are evicted. */
export class ByteBudget {
  /** The cost each item was counted with, in the order of use: the most recently used one is last. */
  private readonly costs = new Map<Evictable, number>();
  private bytes = 0;

  constructor(private readonly limit: number) {}

  /** Counts an item, again if its cost has changed, and evicts others until the rest fits. */
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

  /** Counts an item no more. */
  release(item: Evictable): void {
    this.bytes -= this.costs.get(item) ?? 0;
    this.costs.delete(item);
  }
}
