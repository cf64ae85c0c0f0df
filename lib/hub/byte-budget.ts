/** Something that can be made again, and is kept because that costs time. */
export interface Evictable {
  /** About how many bytes of memory it holds beyond what would be there anyway. */
  readonly cost: number;
  /** Releases these bytes. */
  evict(): void;
}

/** Keeps the bytes of many items below a limit: the items that were not used for longest are evicted first. */
export class ByteBudget {
  /** What each item was counted with, the one that was used last at the end. */
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
