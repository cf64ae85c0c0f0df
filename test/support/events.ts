/** A promise with its handles outside. */
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

/** Collects what happens, and lets a test wait for it. */
export class Recorder<T = string> {
  readonly seen: T[] = [];
  private readonly waiting = new Set<() => void>();

  readonly add = (item: T): void => {
    this.seen.push(item);
    for (const wake of [...this.waiting]) {
      wake();
    }
  };

  /** Waits until so many have happened. */
  async count(n: number): Promise<T[]> {
    while (this.seen.length < n) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.waiting.delete(wake);
          resolve();
        };
        this.waiting.add(wake);
      });
    }
    return this.seen;
  }
}
