/** The published events. The publisher and the clients compute them independently. */

/** One hub for each overflow policy, with the name of the policy. */
export const HUBS = /** @type {const} */ (['disconnect', 'drop-oldest', 'drop-newest', 'latest']);

const SMALL_TOPICS = 10;
/** The topic of large events. Only a client of this topic that stops reading exceeds the buffers of the operating system. */
export const FLOOD = 'flood';
/** The interval of large events. A full history therefore always has the same size. */
const FLOOD_EVERY = 4;
const KEYS = 6;

export const TOPICS = [...Array.from({ length: SMALL_TOPICS }, (_, i) => `topic-${i}`), FLOOD];

/**
 * Random numbers below 1, the same for the same seed (mulberry32).
 * @param {number} seed
 */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Returns the topic and key of an event. The first event of a hub has the number 1. */
export class Plan {
  /** @type {number[]} places in TOPICS */
  #topics = [];
  #random;

  /** @param {number} seed */
  constructor(seed) {
    this.#random = randomOf(seed);
  }

  /** @param {number} n */
  topicOf(n) {
    while (this.#topics.length < n) {
      const isFlood = this.#topics.length % FLOOD_EVERY === 0;
      this.#topics.push(isFlood ? SMALL_TOPICS : Math.floor(this.#random() * SMALL_TOPICS));
    }
    return TOPICS[this.#topics[n - 1]];
  }

  /** Returns the key of an event. Some events have none. @param {number} n */
  keyOf(n) {
    return n % KEYS === 0 ? undefined : `key-${n % KEYS}`;
  }

  /**
   * Returns the number of events of some topics between two numbers.
   * @param {ReadonlySet<string>} topics
   * @param {number} after
   * @param {number} before
   */
  countOf(topics, after, before) {
    let count = 0;
    for (let n = after + 1; n < before; n++) {
      count += topics.has(this.topicOf(n)) ? 1 : 0;
    }
    return count;
  }
}
