import type { LiveConnection } from './connection/live-connection.js';
import type { StreamConnection } from './connection/stream-connection.js';
import { StreamError } from './errors.js';
import type { PlatformResponse } from './platform/platform.js';
import type { PushSource } from './source/source.js';
import { isObservable } from './source/source-of.js';
import { isThenable } from './source/thenable.js';
import type { StreamPlan } from './stream-plan.js';

/** One request to a stream route, from guards to the first byte. */
export class StreamExchange {
  readonly connection: LiveConnection;
  /** Whether an interceptor, and not the handler, has the result in the end. */
  intercepted = false;
  private returned: { readonly value: unknown } | undefined;
  private entered = false;
  private claimed = false;

  constructor(
    private readonly plan: StreamPlan,
    response: PlatformResponse,
  ) {
    this.connection = plan.connect(response);
  }

  /** The connection for a handler that may push. */
  claim(): StreamConnection {
    this.claimed = true;
    return this.connection;
  }

  /** Calls the handler and sends what it returns. For Nest: settles when exception filters are no longer needed. */
  run(invoke: () => unknown): Promise<void> | undefined {
    const { connection } = this;
    if (connection.state !== 'new') {
      return undefined;
    }
    try {
      this.enter();
      const result = invoke();
      if (isThenable(result)) {
        result.then(
          (value) => this.deliver(value),
          (error: unknown) => connection.fail(error),
        );
      } else {
        this.deliver(result);
      }
    } catch (error) {
      connection.fail(error);
    }
    return connection.opened();
  }

  /** Calls the handler, maybe not for the first time, for the interceptors to have its result. */
  invoke(invoke: () => unknown): unknown {
    if (this.connection.state !== 'new') {
      return undefined;
    }
    this.enter();
    const note = (value: unknown): unknown => {
      this.returned = { value };
      return value;
    };
    const result = invoke();
    return isThenable(result) ? result.then(note) : note(result);
  }

  /** Whether what comes out of the interceptors are chunks. Unknown when one answered without calling the handler. */
  get live(): boolean | undefined {
    return this.returned && isObservable(this.returned.value);
  }

  /** Sends what comes out of the interceptors. */
  read(source: PushSource): void {
    if (this.connection.state === 'new') {
      this.connection.attachSource(source);
    }
  }

  /** Counts the stream in, once, however often and whether or not the handler is called. */
  enter(): void {
    if (!this.entered) {
      this.plan.admit(this.connection);
      this.entered = true;
      this.connection.begin();
    }
  }

  /** Sends what the handler returned. */
  deliver(value: unknown): void {
    try {
      this.enter();
      this.connection.attach(value);
      if ((value === undefined || value === null) && !this.claimed && !this.plan.hooked) {
        throw new StreamError(
          'invalid-source',
          `${this.connection.route} returned nothing and cannot push: return a stream, or inject @ConnectedStream()`,
        );
      }
    } catch (error) {
      this.connection.fail(error);
    }
  }
}
