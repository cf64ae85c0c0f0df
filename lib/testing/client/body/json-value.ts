import { AssertionError } from 'node:assert';

const LONGEST_EXCERPT = 200;

/** The start of a text, for a message. */
export function shortened(text: string): string {
  return text.length > LONGEST_EXCERPT ? `${text.slice(0, LONGEST_EXCERPT)}… (${text.length} characters)` : text;
}

/** The value of a JSON text that has to be one. */
export function jsonValue(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new AssertionError({ message: `${what} is not JSON: ${shortened(text)}` });
  }
}
