/** How long one stream may run before others get their turn, in milliseconds. */
export const SLICE_MS = 2;
/** How long all streams together may run before I/O gets its turn, in milliseconds. */
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
  // Callbacks that are added meanwhile belong to the next turn.
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

/** Calls back at the end of this turn of the event loop: when all that could run without waiting has run. */
export function atEndOfTurn(flush: () => void): void {
  flushes.push(flush);
  schedule();
}

/** Calls back in a later turn, after I/O had its chance, and after those that have waited longer. */
export function inLaterTurn(resume: () => void): void {
  resumptions.push(resume);
  schedule();
}

/** Tells turns apart: it changes when the event loop has come round since something was to be sent in it. */
export function currentTurn(): number {
  return turn;
}
