import { StreamError } from '../util/errors.js';

/** The maximum length of a topic, in bytes. */
const MAX_BYTES = 1_024;
/** The maximum number of topics of a subscription. Each takes about 300 bytes while the subscription is open, and clients can often choose them. */
const MAX_TOPICS = 1_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** @throws {StreamError} `invalid-topic`, whose status is 400: topics often come from a client. */
export function checkTopic(topic: unknown): asserts topic is string {
  const problem =
    typeof topic !== 'string'
      ? `be a string, not ${topic === null ? 'null' : typeof topic}`
      : topic === ''
        ? 'not be empty: leave it out to publish without a topic, or to subscribe to all'
        : Buffer.byteLength(topic) > MAX_BYTES
          ? `be at most ${MAX_BYTES} bytes long`
          : CONTROL.test(topic)
            ? 'not contain control characters'
            : undefined;
  if (problem !== undefined) {
    throw new StreamError('invalid-topic', `A topic must ${problem}`, { statusCode: 400 });
  }
}

/**
 * Returns the topics of a subscription, sorted and without duplicates.
 * @throws {StreamError} `invalid-topic` if there is no topic, if there are too many, or if one of them is invalid
 */
export function topicsOf(topic: string | readonly string[]): readonly string[] {
  const given: readonly string[] = Array.isArray(topic) ? topic : [topic as string];
  if (given.length > MAX_TOPICS) {
    throw new StreamError(
      'invalid-topic',
      `A subscription has at most ${MAX_TOPICS} topics, not ${given.length}: leave "topic" out, and select with "filter"`,
      { statusCode: 400 },
    );
  }
  if (given.length === 0) {
    // Not advised to leave "topic" out: the client would receive the events of all topics.
    throw new StreamError('invalid-topic', 'A subscription needs at least one topic, and its list is empty', {
      statusCode: 400,
    });
  }
  given.forEach(checkTopic);
  return [...new Set(given)].sort();
}
