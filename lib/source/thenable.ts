export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    value !== null &&
    (typeof value === 'object' || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/** Runs when a wait is over, at once if there is none; what goes wrong is for `fail`. */
export function after(wait: unknown, run: () => void, fail: (error: unknown) => void): void {
  if (isThenable(wait)) {
    wait.then(run).then(undefined, fail);
  } else {
    run();
  }
}
