/** What is published: 200 bytes of JSON that say when, and that end in a byte that stands nowhere else. */

const SIZE = 200;
/** Sixteen digits, whatever the uptime of the machine. */
const EPOCH = 1e15;
const DIGITS = 16;
const HEAD = '{"at":';

/** The byte by which deliveries are counted: `|`. It is in no frame of a WebSocket of that length either. */
export const MARK = 0x7c;

/** Microseconds, on a clock that all processes of the machine share. */
export const now = () => EPOCH + Number(process.hrtime.bigint() / 1_000n);

const text = `${'x'.repeat(SIZE - JSON.stringify({ at: now(), text: '|' }).length)}|`;

/** @returns {{ at: number, text: string }} */
export const message = () => ({ at: now(), text });

/** So many bytes before the mark stands when it was published. */
const BEFORE_MARK = JSON.stringify(message()).indexOf('|') - HEAD.length;

/**
 * When what ends here was published, if that is in the same read.
 * @param {Buffer} buffer
 * @param {number} mark
 */
export function publishedAt(buffer, mark) {
  const start = mark - BEFORE_MARK;
  return start < 0 ? undefined : Number(buffer.latin1Slice(start, start + DIGITS));
}
