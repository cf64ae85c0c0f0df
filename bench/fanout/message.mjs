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

const TEXT_SIZE = SIZE - JSON.stringify({ at: now(), text: '|' }).length;
/** So many different ones, one after the other: what always says the same compresses better than anything real. */
const TEXTS = 256;
const FIELDS = ['symbol', 'bid', 'ask', 'last', 'volume', 'open', 'high', 'low'];

/** Numbers that look random, and are the same every time (Park and Miller). */
let seed = 1;
const digits = () => {
  seed = (seed * 48_271) % 0x7fffffff;
  return String(seed % 1e6);
};

const texts = Array.from({ length: TEXTS }, () => {
  let text = '';
  for (let i = 0; text.length < TEXT_SIZE; i++) {
    text += `${FIELDS[i % FIELDS.length]}: ${digits()}, `;
  }
  return `${text.slice(0, TEXT_SIZE)}|`;
});
let published = 0;

/** @returns {{ at: number, text: string }} */
export const message = () => ({ at: now(), text: texts[published++ % TEXTS] });

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
