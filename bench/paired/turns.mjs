/**
 * Contestants take turns: in each block, every contestant has one slice, in a random order. So whatever the machine does for a while affects
 * all of them alike, and none always follows the same other one, whose data it would find in the caches.
 */

/**
 * Numbers between 0 and 1 that look random, and are the same every time (Park and Miller).
 * @param {number} seed a whole number above 0
 */
export function random(seed) {
  const MODULUS = 0x7fffffff;
  let state = seed % MODULUS;
  return () => {
    state = (state * 48_271) % MODULUS;
    return state / MODULUS;
  };
}

/**
 * Returns the items in a random order, each order with the same probability (Fisher and Yates).
 * @template T
 * @param {readonly T[]} items
 * @param {() => number} next
 */
export function shuffled(items, next) {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

/**
 * Runs whole blocks until both the time is over and there are enough of them.
 * @template T
 * @param {number} count of contestants
 * @param {(contestant: number) => Promise<T>} slice returns what it measured
 * @param {{ ms: number, fewest: number, next: () => number }} how
 * @returns {Promise<T[][]>} for each block, what was measured for each contestant
 */
export async function takeTurns(count, slice, { ms, fewest, next }) {
  const all = Array.from({ length: count }, (_, index) => index);
  const end = performance.now() + ms;
  /** @type {T[][]} */
  const blocks = [];
  while (blocks.length < fewest || performance.now() < end) {
    const block = new Array(count).fill(Number.NaN);
    for (const contestant of shuffled(all, next)) {
      block[contestant] = await slice(contestant);
    }
    blocks.push(block);
  }
  return blocks;
}
