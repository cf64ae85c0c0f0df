/** How many chunks a short stream has. */
export const SHORT = 10;

/** 42 characters each: with `data: ` before and an empty line after, an event of 50 bytes. */
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
 * For those that send what is yielded as it is.
 * @param {number} count
 */
export async function* frames(count) {
  for (let i = 0; i < count; i++) {
    yield frame(TEXTS[i & 15]);
  }
}

/** Resolves never. */
export const never = () => new Promise(() => undefined);

/** A stream that is open and has nothing to say. */
export async function* silence() {
  yield await never();
}

export const SSE_HEADERS = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' };

/**
 * How many chunks a request asks for: the last part of its path.
 * @param {string} url
 */
export const countOf = (url) => Number(url.slice(url.lastIndexOf('/') + 1)) || SHORT;
