/** Keeps order behind promises: what comes while one is pending runs after it. */
export class InOrder {
  /** How many tasks wait or are pending. */
  waiting = 0;
  /** Resolves, and never rejects, when nothing is pending any more. Returns `undefined` if nothing is. */
  tail: Promise<unknown> | undefined;

  /** Runs a task, behind what is pending. */
  behind<R>(task: () => R): R | Promise<Awaited<R>> {
    return this.tail === undefined ? task() : (this.tail.then(task) as Promise<Awaited<R>>);
  }

  /** Has what follows wait for a promise, whatever becomes of that. */
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
