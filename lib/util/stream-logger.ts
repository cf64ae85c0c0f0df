import { stackOf, textOf } from './error-text.js';

/** The logger of streams. Its methods never throw. */
export interface StreamLogger {
  error(message: string, error?: unknown): void;
  warn(message: string): void;
  debug(message: string): void;
}

/** The used part of Nest's `Logger`. */
interface AnyLogger {
  error(message: string, ...stacks: string[]): void;
  warn(message: string): void;
  debug(message: string): void;
}

/** Wraps the logger of an application, which may throw: where a stream logs, no caller could catch the error. */
export function safeLogger(logger: AnyLogger): StreamLogger {
  return {
    error: (message, ...errors) => attempt(() => logger.error(message, ...errors.map(stackOf))),
    warn: (message) => attempt(() => logger.warn(message)),
    debug: (message) => attempt(() => logger.debug(message)),
  };
}

function attempt(log: () => void): void {
  try {
    log();
  } catch (error) {
    process.emitWarning(`The logger of the application threw: ${textOf(error)}`);
  }
}
