import { broker } from '../broker/broker.js';
import { type Check, callable, count, demand, duration, keys, milliseconds, oneOf, size } from '../util/checks.js';
import { StreamError } from '../util/errors.js';
import type {
  JoinOptions,
  RunAccess,
  RunBehavior,
  RunLimits,
  RunStatus,
  RunsOptions,
  StartOptions,
} from './run.options.js';

const LONGEST_NAME = 128;
/** The maximum length of an id, in bytes. */
const LONGEST_ID = 1_024;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

const LONE_HALF = /\p{Surrogate}/u;

export const runDisconnect: Check = (value) =>
  value === 'cancel' || value === 'detach' || keys({ detach: milliseconds }, true)(value) === undefined
    ? undefined
    : 'must be "cancel", "detach" or { detach: milliseconds }';

const BEHAVIOR = {
  onDisconnect: runDisconnect,
  keep: milliseconds,
  maxDuration: duration,
  limits: keys<RunLimits>({ running: count, perOwner: count, bytes: size, items: count }),
  lease: milliseconds,
  compact: callable,
  broker,
};

const behavior = keys<RunBehavior>(BEHAVIOR);

/** The option `runs` of the application, for routes that set `onDisconnect` themselves, and whose runs have no owner. */
export const routeRuns: Check = (value) => {
  const problem = behavior(value);
  const { onDisconnect, limits } = (problem ? {} : value) as RunBehavior;
  if (onDisconnect !== undefined) {
    return '"onDisconnect" is an option of a route: @Stream({ onDisconnect })';
  }
  return limits?.perOwner === undefined
    ? problem
    : '"limits.perOwner" has no effect, since the runs of routes have no owner: use "limits.perClient" of the route';
};

const RUNS = keys<RunsOptions>({
  name: (value) =>
    typeof value === 'string' &&
    value !== '' &&
    value.length <= LONGEST_NAME &&
    !CONTROL.test(value) &&
    !value.includes('/') &&
    !value.startsWith('~')
      ? undefined
      : 'must be 1 to 128 characters without control characters and "/", and not begin with "~"',
  ...BEHAVIOR,
});

const text: Check = (value) =>
  typeof value === 'string' && !LONE_HALF.test(value) ? undefined : 'must be a string, without halves of characters';

const START = keys<StartOptions>({
  owner: text,
  onConflict: oneOf('join', 'reject', 'replace'),
  ended: oneOf('restart', 'replay'),
});

const JOIN = keys<JoinOptions>({
  owner: text,
  after: () => undefined,
  from: oneOf('start', 'now'),
  ended: oneOf('replay', 'none'),
  orElse: (value) => (value === 204 || value === 404 ? undefined : 'must be 204 or 404'),
});

const ACCESS = keys<RunAccess>({ owner: text });
const LIST = keys<RunAccess & { readonly status?: RunStatus }>({
  owner: text,
  status: oneOf('running', 'completed', 'failed', 'stopped', 'lost'),
});
const CHECKS = { start: START, join: JOIN, stop: ACCESS, get: ACCESS, delete: ACCESS };

export function checkRunsOptions(options: unknown): void {
  const name = (options as { readonly name?: unknown } | undefined)?.name;
  const where = 'StreamingModule.registerRuns()';
  demand(RUNS, options, name === undefined ? where : `${where} of ${JSON.stringify(name)}`);
  demand(keys({ name: text }, true), { name }, where);
}

/**
 * Throws for an id that is none, and for options that are unknown or have a wrong type.
 * @throws {StreamError} `invalid-id`, for which the client gets the status 400; `invalid-option`
 */
export function checkCall(call: keyof typeof CHECKS, runs: string, id: unknown, options: RunAccess): void {
  const where = `${call}() of the runs "${runs}"`;
  // In UTF-8, all halves of characters are the same.
  if (typeof id !== 'string' || id === '' || Buffer.byteLength(id) > LONGEST_ID || LONE_HALF.test(id)) {
    throw new StreamError(
      'invalid-id',
      `${where}: the id of a run is a string of 1 to ${LONGEST_ID} bytes, without halves of characters`,
      { statusCode: 400 },
    );
  }
  demand(CHECKS[call], options, where);
  checkOwner(options, where);
  const { after } = options as JoinOptions;
  if (after !== undefined && typeof after !== 'string') {
    throw new StreamError('invalid-id', `${where}: "after" is one id, not ${JSON.stringify(after)}`, {
      statusCode: 400,
    });
  }
}

/** @throws {StreamError} `invalid-option` */
export function checkList(runs: string, options: RunAccess): void {
  const where = `list() of the runs "${runs}"`;
  demand(LIST, options, where);
  checkOwner(options, where);
}

function checkOwner(options: RunAccess, where: string): void {
  if ('owner' in options && options.owner === undefined) {
    // Without this, a forgotten user would open the runs of everybody.
    throw new StreamError(
      'invalid-option',
      `${where}: "owner" is undefined. Leave it out if the owner is not to be compared`,
    );
  }
}

/** Throws for a producer that is no function. */
export function checkProducer(produce: unknown, runs: string): void {
  if (typeof produce !== 'function') {
    throw new StreamError(
      'invalid-argument',
      `start() of the runs "${runs}" takes a function that returns what is produced, such as (run) => model.answer(run.signal)`,
    );
  }
}
