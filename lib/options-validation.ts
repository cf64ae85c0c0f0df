import { StreamError } from './errors.js';
import { defineFormat } from './format/define-format.js';
import type { StreamFormat } from './format/format.js';
import { FORMATS } from './format/formats.js';

/** What a value must be: a message if it is not. */
type Check = (value: unknown) => string | undefined;

const duration: Check = (value) =>
  value === false || (typeof value === 'number' && value > 0)
    ? undefined
    : 'must be a number of milliseconds above 0, or false';
const count: Check = (value) =>
  Number.isInteger(value) && (value as number) > 0 ? undefined : 'must be a whole number above 0';
const size: Check = (value) => (typeof value === 'number' && value > 0 ? undefined : 'must be a number above 0');
const finite: Check = (value) =>
  Number.isFinite(value) && (value as number) > 0 ? undefined : 'must be a finite number above 0';
const callable: Check = (value) => (typeof value === 'function' ? undefined : 'must be a function');

const oneOf =
  (...values: string[]): Check =>
  (value) =>
    values.includes(value as string) ? undefined : `must be one of ${values.map((each) => `"${each}"`).join(', ')}`;

function keys(checks: Readonly<Record<string, Check>>, required = false): Check {
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

function isFormat(value: unknown): boolean {
  try {
    return defineFormat(value as StreamFormat) !== undefined;
  } catch {
    return false;
  }
}

const format: Check = (value) => {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const known = (each: unknown): boolean => (typeof each === 'string' ? Object.hasOwn(FORMATS, each) : isFormat(each));
  return list.length > 0 && list.every(known)
    ? undefined
    : `must be one or several of ${Object.keys(FORMATS).join(', ')} or of defineFormat()`;
};

const flushPolicy: Check = (value) =>
  value === 'auto' || value === 'each' || keys({ bytes: count, ms: finite }, true)(value) === undefined
    ? undefined
    : 'must be "auto", "each" or { bytes, ms }, both above 0';

const hooks: Check = (value) => {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.every((each) => (typeof each === 'object' && each !== null) || typeof each === 'function')
    ? undefined
    : 'must be an object with hooks, a class, or several of them';
};

const BEHAVIOR: Readonly<Record<string, Check>> = {
  format,
  flush: flushPolicy,
  openDelay: (value) => (value === 0 ? undefined : duration(value)),
  heartbeat: duration,
  sendTimeout: duration,
  maxDuration: duration,
  queue: keys({ events: size, bytes: size }),
  overflow: oneOf('disconnect', 'drop-oldest', 'drop-newest'),
  errorEvent: (value) =>
    typeof value === 'string' && /^[^\r\n]+$/.test(value) ? undefined : 'must be a string without line breaks',
  limits: keys({ connections: count, perClient: count, clientOf: callable, retryAfter: count }),
};

const method: Check = (value) => (Number.isInteger(value) ? undefined : 'must be a RequestMethod');
const pending: Check = (value) =>
  typeof value === 'number' && value >= 0 ? undefined : 'must be a number of characters';

const CHECKS = {
  module: keys({
    ...BEHAVIOR,
    hooks,
    shutdown: keys({
      grace: (value) => (value === 0 ? undefined : finite(value)),
      retry: (value) => (value === false ? undefined : finite(value)),
    }),
  }),
  Stream: keys({ ...BEHAVIOR, method }),
  Sse: keys({ ...BEHAVIOR, method, maxPendingDataLength: pending }),
};

/**
 * Refuses options that are unknown or of a wrong type.
 * @param where what they were given to, as the message names it
 */
export function validateOptions(kind: keyof typeof CHECKS, options: unknown, where: string): void {
  const problem = CHECKS[kind](options);
  if (problem) {
    throw new StreamError('invalid-option', `${where}: ${problem}`);
  }
}
