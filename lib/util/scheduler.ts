/** How long one stream may run before other streams may run, in milliseconds. */
export const SLICE_MS = 2;
/** How long all streams together may run before the event loop may handle I/O, in milliseconds. */
const TURN_MS = 6;

const resumptions: (() => void)[] = [];
const flushes: (() => void)[] = [];
let scheduled = false;
let turn = 0;

function schedule(): void {
  if (!scheduled) {
    scheduled = true;
    setImmediate(runTurn);
  }
}

function runTurn(): void {
  scheduled = false;
  turn++;
  try {
    // Flushes that are added while these run belong to the next turn.
    run(flushes, flushes.length, Number.POSITIVE_INFINITY);
    run(resumptions, Number.POSITIVE_INFINITY, performance.now() + TURN_MS);
  } finally {
    if (flushes.length > 0 || resumptions.length > 0) {
      schedule();
    }
  }
}

/** Runs and removes the first callbacks, until there is no more time. If one throws, it is removed too, and the others stay for the next turn. */
function run(callbacks: (() => void)[], most: number, until: number): void {
  let done = 0;
  try {
    while (
      done < callbacks.length &&
      done < most &&
      (until === Number.POSITIVE_INFINITY || performance.now() < until)
    ) {
      (callbacks[done++] as () => void)();
    }
  } finally {
    callbacks.splice(0, done);
  }
}

/** Calls back at the end of this turn of the event loop, after all code that can run without waiting. */
export function atEndOfTurn(flush: () => void): void {
  flushes.push(flush);
  schedule();
}

/** Calls back in a later turn of the event loop, after I/O was handled, and after callbacks that were added earlier. */
export function inLaterTurn(resume: () => void): void {
  resumptions.push(resume);
  schedule();
}

/** Returns a number for the current turn of the event loop. It changes only in turns in which a callback of this file has run. */
export function currentTurn(): number {
  return turn;
}
