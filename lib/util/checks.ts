import { StreamError } from './errors.js';

/**
 * Returns what is wrong with a value, as the end of a sentence that begins with its name: `must be …`. If an option within the value is wrong, the
 * text begins with the path of that option: `"limit" must be …`. Returns `undefined` for a valid value.
 */
export type Check = (value: unknown) => string | undefined;

/** The longest duration of a timer of Node.js, in milliseconds. A timer with a longer duration fires immediately. */
export const LONGEST_MS = 2 ** 31 - 1;

export const milliseconds: Check = (value) =>
  typeof value === 'number' && value > 0 && value <= LONGEST_MS
    ? undefined
    : `must be a number of milliseconds above 0 and at most ${LONGEST_MS} (24.8 days)`;
export const duration: Check = (value) => {
  const problem = value === false ? undefined : milliseconds(value);
  return problem && `${problem}, or false${notString(value)}`;
};
export const count: Check = (value) =>
  Number.isInteger(value) && (value as number) > 0 ? undefined : 'must be a whole number above 0';
export const size: Check = (value) => (typeof value === 'number' && value > 0 ? undefined : 'must be a number above 0');
export const finite: Check = (value) =>
  Number.isFinite(value) && (value as number) > 0 ? undefined : 'must be a finite number above 0';
export const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'must be true or false');
export const callable: Check = (value) => (typeof value === 'function' ? undefined : 'must be a function');

export const oneOf =
  (...values: string[]): Check =>
  (value) =>
    values.includes(value as string)
      ? undefined
      : `must be one of ${values.map((each) => `"${each}"`).join(', ')}${notString(value)}${suggestion(value, values)}`;

/** Returns the end of the sentence `must be …` with the string that was passed instead. Empty for other values. */
export function notString(value: unknown): string {
  return typeof value === 'string' ? `, not ${JSON.stringify(value)}` : '';
}

/** Returns a sentence that suggests the name most similar to a misspelt one. Empty if none is similar. */
export function suggestion(misspelt: unknown, names: readonly string[]): string {
  const nearest = typeof misspelt === 'string' ? nearestOf(misspelt, names) : undefined;
  return nearest === undefined ? '' : `. Did you mean "${nearest}"?`;
}

/** One check for each key of an object: a key without a check does not compile. */
export type Checks<T> = { readonly [Key in keyof T]-?: Check };

/** Returns a check for an object with these keys. Each key may be left out unless `required` is set. No other keys are allowed. */
export function keys<T extends object>(checks: Checks<T>, required = false): Check {
  const known = Object.keys(checks);
  const entries = Object.entries<Check>(checks);
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return `must be an object with ${known.join(', ')}`;
    }
    for (const key of Object.keys(value)) {
      if (!known.includes(key)) {
        return unknown(key, known);
      }
    }
    for (const [key, check] of entries) {
      const given = (value as Record<string, unknown>)[key];
      const problem = given === undefined && !required ? undefined : check(given);
      if (problem) {
        return problem.startsWith('"') ? `"${key}.${problem.slice(1)}` : `"${key}" ${problem}`;
      }
    }
    return undefined;
  };
}

function unknown(key: string, known: readonly string[]): string {
  return `has an unknown option "${key}"${suggestion(key, known) || '.'} Known: ${known.join(', ')}`;
}

/** Returns the name that is most similar to a misspelt one. Returns `undefined` if more than a third of the characters differ in all names. */
function nearestOf(misspelt: string, names: readonly string[]): string | undefined {
  const most = Math.ceil(misspelt.length / 3);
  const near = names
    .filter((name) => Math.abs(name.length - misspelt.length) <= most)
    .map((name) => ({ name, edits: editsBetween(misspelt.toLowerCase(), name.toLowerCase()) }))
    .filter(({ edits }) => edits <= most);
  return near.sort((a, b) => a.edits - b.edits)[0]?.name;
}

/** Returns how many characters have to be added, removed, replaced or swapped with the next one (optimal string alignment distance). */
function editsBetween(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (last[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const swaps = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        replaced,
        swaps ? (before[column - 2] ?? 0) + 1 : Infinity,
      );
    }
    before = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/** Returns a check for the limits of a queue, where each limit has to pass a check. */
export function queueLimits(each: Check): Check {
  const known = keys({ items: each, bytes: each });
  return (value) =>
    typeof value === 'object' && value !== null && Object.hasOwn(value, 'events')
      ? '"events" is now called "items"'
      : known(value);
}

/**
 * Throws for a value that does not pass a check.
 * @param where the decorator or function that received the value, for the message
 * @throws {StreamError} `invalid-option`
 */
export function demand(check: Check, value: unknown, where: string): void {
  const problem = check(value);
  if (problem) {
    throw new StreamError('invalid-option', `${where}: ${problem}`);
  }
}
