/** Runs tasks in order: a task that is added while a promise is pending runs after that promise has settled. */
export class InOrder {
  /** The number of tasks that wait or are pending. */
  waiting = 0;
  /** Resolves when no task is pending any more, and never rejects. `undefined` if no task is pending. */
  tail: Promise<unknown> | undefined;

  /** Runs a task after all pending ones, or now if there are none. */
  behind<R>(task: () => R): R | Promise<Awaited<R>> {
    return this.tail === undefined ? task() : (this.tail.then(task) as Promise<Awaited<R>>);
  }

  /** Makes later tasks wait until a promise has settled in any way. */
  hold(wait: PromiseLike<unknown>): void {
    this.waiting++;
    const passed = (): void => {
      this.waiting--;
      if (this.tail === tail) {
        this.tail = undefined;
      }
    };
    const tail = Promise.resolve(wait).then(passed, passed);
    this.tail = tail;
  }
}
