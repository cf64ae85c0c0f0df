import { StreamError } from './errors.js';

/** What a value must be: a message if it is not. */
export type Check = (value: unknown) => string | undefined;

export const duration: Check = (value) =>
  value === false || (typeof value === 'number' && value > 0)
    ? undefined
    : 'must be a number of milliseconds above 0, or false';
export const count: Check = (value) =>
  Number.isInteger(value) && (value as number) > 0 ? undefined : 'must be a whole number above 0';
export const size: Check = (value) => (typeof value === 'number' && value > 0 ? undefined : 'must be a number above 0');
export const finite: Check = (value) =>
  Number.isFinite(value) && (value as number) > 0 ? undefined : 'must be a finite number above 0';
export const callable: Check = (value) => (typeof value === 'function' ? undefined : 'must be a function');

export const oneOf =
  (...values: string[]): Check =>
  (value) =>
    values.includes(value as string) ? undefined : `must be one of ${values.map((each) => `"${each}"`).join(', ')}`;

/** An object with these keys, each as its check says or left out; with `required`, none may be. */
export function keys(checks: Readonly<Record<string, Check>>, required = false): Check {
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return `must be an object with ${Object.keys(checks).join(', ')}`;
    }
    for (const key of Object.keys(value)) {
      if (!Object.hasOwn(checks, key)) {
        return `has an unknown option "${key}". Known: ${Object.keys(checks).join(', ')}`;
      }
    }
    for (const [key, check] of Object.entries(checks)) {
      const given = (value as Record<string, unknown>)[key];
      const problem = given === undefined && !required ? undefined : check(given);
      if (problem) {
        return problem.startsWith('has ') || problem.startsWith('"') ? problem : `"${key}" ${problem}`;
      }
    }
    return undefined;
  };
}

/** The limits of a queue, each as the check says. */
export function queueLimits(each: Check): Check {
  const known = keys({ items: each, bytes: each });
  return (value) =>
    typeof value === 'object' && value !== null && Object.hasOwn(value, 'events')
      ? '"events" is now called "items"'
      : known(value);
}

/**
 * Refuses what is unknown or of a wrong type.
 * @param where what it was given to, as the message names it
 */
export function demand(check: Check, value: unknown, where: string): void {
  const problem = check(value);
  if (problem) {
    throw new StreamError('invalid-option', `${where}: ${problem}`);
  }
}
