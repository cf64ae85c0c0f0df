import { StreamError } from '../util/errors.js';

const LONGEST = 1_024;
/** Each costs about 300 bytes as long as the subscription lives, and a client can often choose them. */
const MOST = 1_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** @throws {StreamError} `invalid-topic`, whose status is 400: topics often come from a client. */
export function checkTopic(topic: unknown): asserts topic is string {
  const problem =
    typeof topic !== 'string'
      ? `be a string, not ${topic === null ? 'null' : typeof topic}`
      : topic === ''
        ? 'not be empty: leave it out to publish without a topic, or to subscribe to all'
        : Buffer.byteLength(topic) > LONGEST
          ? `be at most ${LONGEST} bytes long`
          : CONTROL.test(topic)
            ? 'not contain control characters'
            : undefined;
  if (problem !== undefined) {
    throw new StreamError('invalid-topic', `A topic must ${problem}`, { statusCode: 400 });
  }
}

/**
 * Returns the topics of a subscription, sorted and without duplicates.
 * @throws {StreamError} `invalid-topic` when there are none, too many, or one that is no topic
 */
export function topicsOf(topic: string | readonly string[]): readonly string[] {
  const given: readonly string[] = Array.isArray(topic) ? topic : [topic as string];
  if (given.length > MOST) {
    throw new StreamError(
      'invalid-topic',
      `A subscription has at most ${MOST} topics, not ${given.length}: leave "topic" out, and select with "filter"`,
      { statusCode: 400 },
    );
  }
  for (const each of given.length > 0 ? given : ['']) {
    checkTopic(each);
  }
  return [...new Set(given)].sort();
}
