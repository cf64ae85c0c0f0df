import { StreamError } from '../util/errors.js';

/** Checks, for the streams of a route, whether their clients may still read them. Durations are in milliseconds. */
export interface AccessCheck {
  /** The longest time between two checks of a stream. */
  readonly every: number;
  /** How many checks of a stream in a row may fail before it is closed. */
  readonly toleratedFaults: number;
  /**
   * Resolves if the client may go on. Rejects with the exception that refuses the client, or with another error if that cannot be found out.
   * @param request the request object of the platform
   * @param response the response object of the platform
   */
  run(request: unknown, response: unknown): Promise<void>;
  /** Logs the error of a check, unless one was logged a short time ago. */
  logFault(error: unknown): void;
}

/** The limits of the access of one client. */
export interface AccessLimits {
  /** When it expires, in milliseconds since the epoch. */
  readonly expiresAt?: number | undefined;
  /** The response object of the platform, for the guards of later checks. */
  readonly response?: unknown;
}

/**
 * Returns the time at which something expires, in milliseconds since the epoch, or `undefined` for none.
 * @param where what received the value, for the message
 * @throws {StreamError} `invalid-argument`
 */
export function expiryOf(value: unknown, where: string): number | undefined {
  const time: unknown = value instanceof Date ? value.getTime() : value;
  if (time !== undefined && (typeof time !== 'number' || Number.isNaN(time))) {
    throw new StreamError(
      'invalid-argument',
      `${where}: the time has to be a number of milliseconds since the epoch, such as exp * 1000, a valid Date, or undefined`,
    );
  }
  return time === Infinity ? undefined : time;
}
