import { StreamError } from '../errors.js';

const LONGEST = 1_024;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** @throws {StreamError} `invalid-topic`, whose status is 400: topics often come from a client. */
export function checkTopic(topic: unknown): asserts topic is string {
  const problem =
    typeof topic !== 'string'
      ? `a string, not ${topic === null ? 'null' : typeof topic}`
      : topic === ''
        ? 'not empty: leave it out to mean all'
        : Buffer.byteLength(topic) > LONGEST
          ? `at most ${LONGEST} bytes long`
          : CONTROL.test(topic)
            ? 'without control characters'
            : undefined;
  if (problem !== undefined) {
    throw new StreamError('invalid-topic', `A topic has to be ${problem}`, { statusCode: 400 });
  }
}
