/** The messages: 200 bytes of JSON with the time of publishing, whose last byte occurs nowhere else. */

const SIZE = 200;
/** The time has sixteen digits, whatever the uptime of the machine is. */
const EPOCH = 1e15;
const DIGITS = 16;
const HEAD = '{"at":';

/** The number of topics, and of clients, if each client has a topic of its own. */
export const TOPICS = 1_000;

/** The byte by which deliveries are counted: `|`. It does not occur in the header of a WebSocket frame of that length either. */
export const MARK = 0x7c;

/** Microseconds, on a clock that all processes of the machine share. */
export const now = () => EPOCH + Number(process.hrtime.bigint() / 1_000n);

const TEXT_SIZE = SIZE - JSON.stringify({ at: now(), text: '|' }).length;
/** The number of different messages. Equal messages would compress better than real data. */
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

/** The distance from the time of publishing to the mark, in bytes. */
const BEFORE_MARK = JSON.stringify(message()).indexOf('|') - HEAD.length;

/**
 * Returns when the message that ends here was published, if the time is in the same read.
 * @param {Buffer} buffer
 * @param {number} mark
 */
export function publishedAt(buffer, mark) {
  const start = mark - BEFORE_MARK;
  return start < 0 ? undefined : Number(buffer.latin1Slice(start, start + DIGITS));
}
