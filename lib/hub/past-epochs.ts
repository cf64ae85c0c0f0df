/** How long records of an epoch are late after the log has left it, in milliseconds. After that time, they mean that the log is back in that epoch. */
const LATE_MS = 10_000;
/** The number of epochs that are remembered. */
const MAX = 32;

/** The epochs that a log had before its current one, as far as this process knows. */
export class PastEpochs {
  /** When each epoch was left. */
  private readonly left = new Map<string, number>();

  /** Called when the log has left one epoch for another. */
  leave(epoch: string, next: string): void {
    this.left.delete(next);
    this.left.set(epoch, performance.now());
    for (const oldest of this.left.keys()) {
      if (this.left.size <= MAX) {
        return;
      }
      this.left.delete(oldest);
    }
  }

  has(epoch: string): boolean {
    return this.left.has(epoch);
  }

  /**
   * Returns whether records of an epoch are late. The broker may learn from a read that the log has a new epoch, before its tail delivers the last
   * records of the old one.
   */
  isLate(epoch: string): boolean {
    const time = this.left.get(epoch);
    return time !== undefined && performance.now() - time < LATE_MS;
  }
}
