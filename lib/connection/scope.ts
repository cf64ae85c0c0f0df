import type { Transport } from '../transport/transport.js';
import { isError } from '../util/error-text.js';
import { StreamCloseError, StreamStateError } from '../util/errors.js';
import { isThenable } from '../util/thenable.js';
import type { HandlerCall } from './handler-call.js';
import { type HookChain, inTurn } from './hooks.js';
import type { StreamHooks } from './stream-connection.js';
import type { StreamSettings } from './stream-settings.js';

/** The stream for which code of the application runs. */
interface ScopedStream {
  readonly id: string;
  readonly settings: StreamSettings;
  readonly transport: Transport;
  fail(error: unknown): void;
}

/** Runs code of the application for one stream, in the async context of the call of its handler, and handles its errors. */
export class StreamScope {
  /** The call of the handler; `undefined` before it. */
  call: HandlerCall | undefined;

  constructor(
    private readonly stream: ScopedStream,
    public hooks: HookChain,
  ) {}

  /** The route and id, for messages. */
  get name(): string {
    return `${this.stream.settings.route} (stream ${this.stream.id})`;
  }

  within<R>(run: () => R): R {
    return this.call ? this.call.runInAsyncScope(run) : run();
  }

  /** Calls a function. If it throws, or its promise rejects, the stream fails. */
  attempt(run: () => unknown): void {
    try {
      const wait = run();
      if (isThenable(wait)) {
        Promise.resolve(wait).then(undefined, (error: unknown) => this.stream.fail(error));
      }
    } catch (error) {
      this.stream.fail(error);
    }
  }

  /** Calls a function for a stream that has failed or ended, so that an error can only be logged. */
  guarded(run: () => unknown, what: string): unknown {
    const log = (error: unknown): void => {
      this.stream.settings.services.logger.error(`${this.name}: the ${what} threw`, error);
    };
    try {
      const wait = this.within(run);
      return isThenable(wait) ? Promise.resolve(wait).then(undefined, log) : undefined;
    } catch (error) {
      log(error);
      return undefined;
    }
  }

  /** Calls `run` for all hooks that have a method, in order. Returns a promise only if one of the calls has returned one. */
  runHooks(name: keyof StreamHooks, run: (hooks: StreamHooks) => unknown): void | PromiseLike<void> {
    const chain = this.hooks.having(name);
    return chain.length === 0 ? undefined : this.within(() => inTurn(chain, run));
  }

  /** Logs an error that occurs after the end of the stream. */
  late(error: unknown): void {
    const { transport, settings } = this.stream;
    const { logger } = settings.services;
    if (isCloseError(error) || isAbortError(error)) {
      return;
    }
    if (transport.saysAborted?.(error)) {
      logger.debug(`${this.name}: its client disconnected before it had sent the whole request`);
    } else {
      logger.error(`${this.name} threw an error after it had ended`, error);
    }
  }
}

/** Returns whether an error only says that a stream has ended. `send()` rejects with such an error, so that a loop of the producer ends. */
function isCloseError(error: unknown): boolean {
  const said = isError(error) && error instanceof StreamStateError ? error.cause : error;
  return isError(said) && said instanceof StreamCloseError;
}

/** Returns whether an error only says that an operation was aborted, as operations with the signal of a stream do. */
function isAbortError(error: unknown): boolean {
  try {
    // A `DOMException` of another realm is not recognized as an error.
    return (error as { readonly name?: unknown } | null | undefined)?.name === 'AbortError';
  } catch {
    return false;
  }
}
