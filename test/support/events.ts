/** A promise with functions that settle it. */
export interface Deferred<T = void> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Collects events in order, and lets a test wait for them. */
export class Recorder<T = string> {
  readonly seen: T[] = [];
  private readonly waiting = new Set<() => void>();

  readonly add = (item: T): void => {
    this.seen.push(item);
    for (const resume of [...this.waiting]) {
      resume();
    }
  };

  /** Waits for a number of events. */
  async count(n: number): Promise<T[]> {
    while (this.seen.length < n) {
      await new Promise<void>((resolve) => {
        const resume = () => {
          this.waiting.delete(resume);
          resolve();
        };
        this.waiting.add(resume);
      });
    }
    return this.seen;
  }
}
