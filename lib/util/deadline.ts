/** If a timer is late by this, in milliseconds, the process did not run for a while. */
const LATE_MS = 100;

/**
 * Calls a function after a time, like `setTimeout()`, but not right after a time in which the process was suspended or busy: what it waits for may have
 * arrived, and not be read yet.
 */
export class Deadline {
  private timer: NodeJS.Timeout | undefined;
  /** When the timer should fire. */
  private due = 0;

  constructor(private readonly onPassed: () => void) {}

  /** Starts the time, unless it is running. */
  start(ms: number): void {
    if (this.timer === undefined) {
      this.due = performance.now() + ms;
      this.timer = setTimeout(this.onTimer, ms);
    }
  }

  /** Ends the time. The function is not called. */
  clear(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private readonly onTimer = (): void => {
    this.timer = undefined;
    if (performance.now() - this.due > LATE_MS) {
      this.start(LATE_MS);
    } else {
      this.onPassed();
    }
  };
}
