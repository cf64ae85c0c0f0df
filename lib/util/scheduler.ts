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
  // Callbacks that are added while these run belong to the next turn.
  for (const flush of flushes.splice(0)) {
    flush();
  }
  const end = performance.now() + TURN_MS;
  let done = 0;
  while (done < resumptions.length && performance.now() < end) {
    (resumptions[done++] as () => void)();
  }
  resumptions.splice(0, done);
  if (resumptions.length > 0) {
    schedule();
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
