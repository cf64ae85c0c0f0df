/** The positions of the words in the shared memory. */
const STARTED = 0;
const ABORTED = 1;
const CONSUMED = 2;
const WAITING = 3;
const WORDS = 4;

/**
 * The memory that a producer and its consumer share. Each side sees what the other has written at once, also if it never returns to its event loop.
 * Numbers that only increase wrap around, and are compared by their difference.
 */
export class Control {
  private readonly words: Int32Array;

  constructor(readonly memory = new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)) {
    this.words = new Int32Array(memory);
  }

  /** Whether `produce()` runs in the worker. */
  get started(): boolean {
    return Atomics.load(this.words, STARTED) === 1;
  }

  markStarted(): void {
    Atomics.store(this.words, STARTED, 1);
  }

  /** Whether the producer should stop. */
  get aborted(): boolean {
    return Atomics.load(this.words, ABORTED) === 1;
  }

  abort(): void {
    Atomics.store(this.words, ABORTED, 1);
  }

  /** How many batches of chunks were consumed. */
  get consumed(): number {
    return Atomics.load(this.words, CONSUMED);
  }

  /** Counts a consumed batch. */
  consume(): void {
    Atomics.add(this.words, CONSUMED, 1);
  }

  /**
   * Says that the producer waits for room. It then has to look for room once more: if the consumer has made room before this call, it sends no message.
   */
  awaitRoom(): void {
    Atomics.store(this.words, WAITING, 1);
  }

  /** Returns whether the producer waits for room. Returns true only once for each time that it waits. */
  takeWaiting(): boolean {
    return Atomics.load(this.words, WAITING) === 1 && Atomics.exchange(this.words, WAITING, 0) === 1;
  }
}
