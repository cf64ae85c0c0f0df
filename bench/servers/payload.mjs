/** The number of chunks of a short stream. */
export const SHORT = 10;

/** A plain reply with as many bytes as the events of a short stream. */
export const REPLY = 'x'.repeat(SHORT * 50);

/** 42 characters each. With `data: ` before and an empty line after it, this is an event of 50 bytes. */
const TEXTS = Array.from({ length: 16 }, (_, i) => `${i}`.padStart(2, '0').repeat(21));

/** @param {string} text */
export const frame = (text) => `data: ${text}\n\n`;

/** @param {number} count */
export async function* texts(count) {
  for (let i = 0; i < count; i++) {
    yield TEXTS[i & 15];
  }
}

/** @param {number} count */
export function* textsSync(count) {
  for (let i = 0; i < count; i++) {
    yield TEXTS[i & 15];
  }
}

/**
 * For contestants that send yielded chunks unchanged.
 * @param {number} count
 */
export async function* frames(count) {
  for (let i = 0; i < count; i++) {
    yield frame(TEXTS[i & 15]);
  }
}

/** Never resolves. */
export const never = () => new Promise(() => undefined);

/** A stream that is open and silent. */
export async function* silence() {
  yield await never();
}

export const SSE_HEADERS = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' };

/**
 * Returns the number of requested chunks, which is the last part of the path.
 * @param {string} url
 */
export const countOf = (url) => Number(url.slice(url.lastIndexOf('/') + 1)) || SHORT;
