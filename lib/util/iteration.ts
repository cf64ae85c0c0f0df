/** A step of an iteration: a value, or the end. */
export type Step = IteratorResult<unknown, unknown>;

/** The end of an iteration that has no return value. */
export const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });

/** Throws for a value that an iterator may not return, as `for await` does. */
export function demandStep(step: unknown): void {
  if (typeof step !== 'object' || step === null) {
    throw new TypeError(`Iterator result ${String(step)} is not an object`);
  }
}
