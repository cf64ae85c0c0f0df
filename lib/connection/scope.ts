import type { Transport } from '../transport/transport.js';
import { isError } from '../util/error-text.js';
import { StreamCloseError, StreamStateError } from '../util/errors.js';
import { isThenable } from '../util/thenable.js';
import type { HandlerCall } from './handler-call.js';
import { type HookChain, inTurn } from './hooks.js';
import type { StreamHooks } from './stream-connection.js';
import type { StreamSettings } from './stream-settings.js';

/** The stream whose code runs. */
interface ScopedStream {
  readonly id: string;
  readonly settings: StreamSettings;
  readonly transport: Transport;
  fail(error: unknown): void;
}

/** Runs the code of the application for one stream: in the context of the call of its handler, and with its errors going where they belong. */
export class StreamScope {
  /** The call of the handler, once it is about to be called. */
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

  /** Runs; an error fails the stream. */
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

  /** Runs what belongs to a stream that failed or is over: its errors can only be logged. */
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

  /** Runs for each of the hooks of a name, in order. Returns a promise only if one of them returned one. */
  runHooks(name: keyof StreamHooks, run: (hooks: StreamHooks) => unknown): void | PromiseLike<void> {
    const chain = this.hooks.having(name);
    return chain.length === 0 ? undefined : this.within(() => inTurn(chain, run));
  }

  /** Logs an error that comes too late to fail the stream. */
  late(error: unknown): void {
    const { transport, settings } = this.stream;
    const { logger } = settings.services;
    if (saysOver(error) || isAbortError(error)) {
      return;
    }
    if (transport.saysAborted?.(error)) {
      logger.debug(`${this.name}: its client left before it had sent its whole request`);
    } else {
      logger.error(`${this.name} threw after it was over`, error);
    }
  }
}

/** Whether an error only says that a stream is over: `send()` rejects with it, so that what pushes in a loop ends. */
function saysOver(error: unknown): boolean {
  const said = isError(error) && error instanceof StreamStateError ? error.cause : error;
  return isError(said) && said instanceof StreamCloseError;
}

/** Whether it only says that something was aborted, as what listens to the signal of a stream does. */
function isAbortError(error: unknown): boolean {
  try {
    return isError(error) && error.name === 'AbortError';
  } catch {
    return false;
  }
}
