import { AssertionError } from 'node:assert';

const LONGEST_EXCERPT = 200;

/** Returns the start of a text, for a message. */
export function shortened(text: string): string {
  return text.length > LONGEST_EXCERPT ? `${text.slice(0, LONGEST_EXCERPT)}… (${text.length} characters)` : text;
}

/** Returns the value of a JSON text. Throws an `AssertionError` if it is not JSON; `what` names the text in its message. */
export function jsonValue(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new AssertionError({ message: `${what} is not JSON: ${shortened(text)}` });
  }
}
