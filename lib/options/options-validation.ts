import { broker } from '../broker/broker.js';
import { defineFormat } from '../format/define-format.js';
import type { StreamFormat } from '../format/format.js';
import { FORMATS } from '../format/formats.js';
import { routeRuns, runDisconnect } from '../run/run-checks.js';
import { CONTENT_CODINGS } from '../transport/compression/encoders.js';
import {
  type Check,
  type Checks,
  callable,
  count,
  demand,
  duration,
  flag,
  keys,
  milliseconds,
  notString,
  oneOf,
  queueLimits,
  size,
  suggestion,
} from '../util/checks.js';
import { flushPolicy } from '../util/flush-policy.js';
import type {
  SseOptions,
  StreamBehavior,
  StreamCompression,
  StreamingModuleOptions,
  StreamLimits,
  StreamOptions,
  WebSocketOptions,
} from './streaming.options.js';

function isFormat(value: unknown): boolean {
  try {
    return defineFormat(value as StreamFormat) !== undefined;
  } catch {
    return false;
  }
}

function isOrigin(value: unknown): boolean {
  try {
    return typeof value === 'string' && new URL(value).origin === value;
  } catch {
    return false;
  }
}

const format: Check = (value) => {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const known = (each: unknown): boolean => (typeof each === 'string' ? Object.hasOwn(FORMATS, each) : isFormat(each));
  if (list.length > 0 && list.every(known)) {
    return undefined;
  }
  const names = Object.keys(FORMATS);
  const wrong = list.find((each) => !known(each));
  return `must be one or several of ${names.join(', ')} or of defineFormat()${notString(wrong)}${suggestion(wrong, names)}`;
};

const hooks: Check = (value) => {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.every((each) => (typeof each === 'object' && each !== null) || typeof each === 'function')
    ? undefined
    : 'must be an object with hooks, a class, or several of them';
};

const encodings: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((each) => CONTENT_CODINGS.includes(each))
    ? undefined
    : `must be a list of ${CONTENT_CODINGS.map((each) => `"${each}"`).join(', ')}`;

const threshold: Check = (value) =>
  Number.isInteger(value) && (value as number) >= 0 ? undefined : 'must be a whole number of bytes';

const compressed = keys<StreamCompression>({ encodings, threshold });
const compression: Check = (value) => (typeof value === 'boolean' ? undefined : compressed(value));

const openDelay: Check = (value) => {
  if (value === false) {
    return 'of false is now called "first-chunk"';
  }
  const problem = value === 0 || value === 'first-chunk' ? undefined : milliseconds(value);
  return problem && `${problem}, or 0, or "first-chunk"`;
};

/** The shortest time between two checks of the access of a client, in milliseconds. */
const SHORTEST_EVERY_MS = 1_000;

const every: Check = (value) =>
  milliseconds(value) ??
  ((value as number) >= SHORTEST_EVERY_MS ? undefined : `must be at least ${SHORTEST_EVERY_MS} (1 second)`);

const guards: Check = (value) => {
  if (!Array.isArray(value) || value.length === 0) {
    return 'must be a list of at least one guard, such as [AuthGuard]';
  }
  const isGuard = (each: unknown): boolean =>
    typeof each === 'function' ||
    typeof (each as { readonly canActivate?: unknown } | null)?.canActivate === 'function';
  const wrong: unknown = value.find((each) => !isGuard(each));
  return value.every(isGuard)
    ? undefined
    : `must be classes, or objects with canActivate(), not ${String(wrong)}. A class is undefined where two files import each other: move one of them`;
};

const reauthorized = keys<Exclude<NonNullable<StreamBehavior['reauthorize']>, false>>(
  {
    every,
    guards,
    onFault: (value) => (value === undefined ? undefined : oneOf('keep', 'close')(value)),
  },
  true,
);
const reauthorize: Check = (value) => (value === false ? undefined : reauthorized(value));

const BEHAVIOR: Checks<StreamBehavior> = {
  format,
  flush: flushPolicy,
  openDelay,
  heartbeat: duration,
  sendTimeout: duration,
  maxDuration: duration,
  queue: queueLimits(size),
  overflow: oneOf('disconnect', 'drop-oldest', 'drop-newest'),
  errorEvent: (value) =>
    typeof value === 'string' && /^[^\r\n]+$/.test(value) ? undefined : 'must be a string without line breaks',
  events: oneOf('shape', 'explicit'),
  compression,
  browser: flag,
  limits: keys<StreamLimits>({
    connections: count,
    perClient: count,
    perConnection: (value) => (value === false ? undefined : count(value)),
    clientOf: callable,
    retryAfter: milliseconds,
  }),
  labels: callable,
  expiresAt: callable,
  reauthorize,
};

const method: Check = (value) => (Number.isInteger(value) ? undefined : 'must be a RequestMethod');
const type: Check = (value) => {
  const [first, ...more]: unknown[] = Array.isArray(value) ? value : [value];
  return typeof first === 'function' && more.length === 0
    ? undefined
    : 'must be a class, an array of one, or a function that returns one of them';
};
const openapi: Check = (value) => (value === false ? undefined : oneOf('3.0', '3.1', '3.2')(value));
const protocols: Check = (value) => {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.length > 0 && list.every((each) => each === 'http' || each === 'websocket')
    ? undefined
    : 'must be "http", "websocket" or a list of them';
};
const origins: Check = (value) =>
  value === '*' || typeof value === 'function' || (Array.isArray(value) && value.every(isOrigin))
    ? undefined
    : 'must be "*", a function, or a list of origins such as "https://example.com"';
const webSocketOptions = keys<WebSocketOptions>({
  origins,
  maxPayload: count,
  maxFragments: count,
  messages: queueLimits(count),
});
const websocket: Check = (value) => (typeof value === 'boolean' ? undefined : webSocketOptions(value));
const pending: Check = (value) =>
  typeof value === 'number' && value >= 0 ? undefined : 'must be a number of characters';

const ROUTE = { method, protocols, type, onDisconnect: runDisconnect };

const CHECKS = {
  module: keys<StreamingModuleOptions>({
    ...BEHAVIOR,
    hooks,
    broker,
    openapi,
    websocket,
    runs: routeRuns,
    refusal: oneOf('retry', 'status'),
    shutdown: keys<NonNullable<StreamingModuleOptions['shutdown']>>({
      grace: (value) => (value === 0 ? undefined : milliseconds(value)),
      retry: duration,
    }),
  }),
  Stream: keys<StreamOptions>({ ...BEHAVIOR, ...ROUTE }),
  Sse: keys<StreamOptions & SseOptions>({ ...BEHAVIOR, ...ROUTE, maxPendingDataLength: pending }),
};

/**
 * Throws for options that are unknown or have a wrong type.
 * @param where the decorator or function with the options, for the message
 */
export function validateOptions(kind: keyof typeof CHECKS, options: unknown, where: string): void {
  demand(CHECKS[kind], options, where);
}
