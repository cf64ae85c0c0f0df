import { StreamError } from './errors.js';
import { isThenable, onRejection } from './thenable.js';

/** Short texts by name that say to whom or to what a stream belongs, such as `{ user: 'u1' }`. Streams are closed by them. */
export type StreamLabels = Readonly<Record<string, string>>;

/** The maximum number of labels of a stream. */
const MAX_LABELS = 16;
/** The maximum length of a name and of a value, in characters. */
const LONGEST = 256;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** The labels of a stream without any. */
export const NO_LABELS: StreamLabels = Object.freeze({});

/**
 * Returns labels, together with those that a stream has already. A new label replaces an earlier one with the same name.
 * @param where what received the labels, for the message
 * @throws {StreamError} `invalid-argument`
 */
export function addLabels(labels: StreamLabels, more: StreamLabels, where: string): StreamLabels {
  checkLabels(more, where);
  const all = { ...labels, ...more };
  if (Object.keys(all).length > MAX_LABELS) {
    throw invalid(where, `a stream has at most ${MAX_LABELS} labels`);
  }
  return Object.freeze(all);
}

/** Throws for a value that is not an object of short texts. An empty object is allowed. */
export function checkLabels(labels: unknown, where: string): asserts labels is StreamLabels {
  if (isThenable(labels)) {
    onRejection(labels, () => undefined);
    throw invalid(
      where,
      'labels have to be known at once, and this is a promise: call stream.label() when it resolves',
    );
  }
  if (!isPlain(labels)) {
    throw invalid(where, "labels are an object such as { user: 'u1' }");
  }
  for (const [name, value] of Object.entries(labels)) {
    checkText(name, `the name of the label ${shown(name)}`, where);
    checkText(value, `the label ${shown(name)}`, where);
  }
}

/** Returns a function that says whether the labels of a stream include these. */
export function includes(wanted: StreamLabels): (labels: StreamLabels) => boolean {
  const entries = Object.entries(wanted);
  return (labels) => entries.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  // The prototype of a plain object of another realm is another `Object.prototype`.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function checkText(text: unknown, what: string, where: string): void {
  if (typeof text !== 'string') {
    throw invalid(where, `${what} has to be a string, not ${text === null ? 'null' : typeof text}`);
  }
  if (text === '' || text.length > LONGEST || CONTROL.test(text)) {
    throw invalid(where, `${what} has to be 1 to ${LONGEST} characters without control characters`);
  }
}

function shown(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}

function invalid(where: string, problem: string): StreamError {
  return new StreamError('invalid-argument', `${where}: ${problem}`);
}
