import { quantile } from '../statistics.mjs';
import { MARK, now, publishedAt } from './message.mjs';

const READ = 65_536;
/** Marks are nearer to each other than this, unless something else was sent between them. */
const LONGEST_STRIDE = 400;

/** One byte more than is read, for a mark at which the search stops. */
const buffer = Buffer.alloc(READ + 1);

/** The buffer into which sockets read. Its bytes are processed before the next read. */
export const readBuffer = buffer.subarray(0, READ);

/** The last distance between two marks. */
let stride = LONGEST_STRIDE;

/**
 * Counts the messages in the buffer. Nothing is parsed: the next mark is expected at the same distance as the last one.
 * @param {number} bytes
 * @param {(mark: number) => void} [onMark]
 */
export function countMarks(bytes, onMark) {
  buffer[bytes] = MARK;
  let count = 0;
  for (let mark = buffer.indexOf(MARK); mark < bytes; count++) {
    onMark?.(mark);
    let next = mark + stride;
    if (next >= bytes || buffer[next] !== MARK) {
      next = buffer.indexOf(MARK, mark + 1);
      if (next < bytes && next - mark < LONGEST_STRIDE) {
        stride = next - mark;
      }
    }
    mark = next;
  }
  return count;
}

/**
 * Counts the messages in bytes that were not read from a socket into the buffer.
 * @param {Buffer} text
 * @param {(mark: number) => void} onMark
 */
export function countMarksOf(text, onMark) {
  let count = 0;
  for (let from = 0; from < text.length; from += READ) {
    count += countMarks(text.copy(buffer, 0, from, from + READ), onMark);
  }
  return count;
}

/** How long each message took to the clients of a sample, in microseconds. */
export class Latencies {
  /** @type {number[]} */
  #all = [];

  /** Processes the messages of a client of the sample. */
  onMark = (/** @type {number} */ mark) => {
    const at = publishedAt(buffer, mark);
    if (at !== undefined) {
      this.#all.push(now() - at);
    }
  };

  clear() {
    this.#all = [];
  }

  /** @param {number} share between 0 and 1 */
  quantile(share) {
    return quantile(this.#all, share);
  }
}
