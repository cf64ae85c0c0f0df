import type { LiveConnection } from '../connection/live-connection.js';
import type { PlatformResponse } from '../platform/platform.js';
import type { Run } from '../run/run.options.js';
import type { PushSource } from '../source/source.js';
import { isObservable } from '../source/source-of.js';
import { StreamError } from '../util/errors.js';
import { isThenable } from '../util/thenable.js';
import { expectSerializer } from './chunk-serializer.js';
import { interceptable, originalOf } from './interceptable.js';
import type { StreamParameter, StreamParameterKind } from './route-parameter.js';
import type { StreamPlan } from './route-plan.js';
import type { RunRoute } from './run-route.js';

/** Calls the handler with the values that the exchange provides for its parameters. */
export type Invoke = (exchange: StreamExchange) => unknown;

/** One request to a stream route, from the guards to the first byte of the response. */
export class StreamExchange {
  readonly connection: LiveConnection;
  /** Whether the interceptors pass on the result of the handler, instead of the handler itself. */
  intercepted = false;
  /** Kept for the guards of later checks, if there are any. Not a field, so that the objects of other routes have no place for it. */
  declare private readonly response?: PlatformResponse;
  private returned: { readonly value: unknown } | undefined;
  /** Whether the limits have admitted the stream. `undefined` before the first call of {@link enter}. */
  private admitted: boolean | undefined;
  /** Whether the handler has a parameter with the connection, and so may send chunks itself. */
  private readonly claimed: boolean;
  /** The run that the handler produces, once that has started. */
  private producing: Run | undefined;

  constructor(
    private readonly plan: StreamPlan,
    parameters: readonly StreamParameter[],
    response: PlatformResponse,
  ) {
    this.connection = plan.connect(response);
    if (plan.reauthorizes) {
      this.response = response;
    }
    this.claimed = parameters.some(({ kind }) => kind === 'connection');
  }

  /** Whether the handler is the producer of a run, which this request starts or joins. */
  get producesRuns(): boolean {
    return this.plan.runs !== undefined;
  }

  /** Returns the value of a parameter. */
  valueOf(kind: StreamParameterKind): unknown {
    switch (kind) {
      case 'connection':
        return this.connection;
      case 'signal':
        return (this.producing ?? this.connection).signal;
      case 'last-event-id':
        return this.connection.lastEventId;
    }
  }

  /** Calls the handler and sends its result. The promise is for Nest: it settles once exception filters are no longer needed. */
  run(invoke: Invoke): Promise<void> | undefined {
    const { connection } = this;
    if (connection.state !== 'new') {
      return undefined;
    }
    try {
      if (this.enter()) {
        const { runs } = this.plan;
        this.receive(runs ? this.viewOf(runs, invoke) : invoke(this));
      }
    } catch (error) {
      connection.fail(error);
    }
    return connection.opened();
  }

  /** Calls the handler for the interceptors, which receive its result. Interceptors may call it several times. */
  invoke(invoke: Invoke): unknown {
    // A run is produced for all who join it, also when this client has disconnected.
    if (!this.producing && (this.connection.state !== 'new' || !this.enter())) {
      return undefined;
    }
    const note = (value: unknown): unknown => {
      this.returned = { value };
      if (this.live && !this.producing) {
        this.connection.expectChunks();
      }
      const result = interceptable(value);
      expectSerializer(result);
      return result;
    };
    const returned = invoke(this);
    return isThenable(returned) ? Promise.resolve(returned).then(note) : note(returned);
  }

  /** Sends the result of the handler or of the interceptors. Waits for it if it is a promise. */
  receive(result: unknown): void {
    try {
      if (isThenable(result)) {
        Promise.resolve(result).then(
          (value) => this.deliver(value),
          (error: unknown) => this.connection.fail(error),
        );
      } else {
        this.deliver(result);
      }
    } catch (error) {
      this.connection.fail(error);
    }
  }

  /** Sends the result of the interceptors. That of a run is read by its producer. */
  follow(result: unknown): void {
    if (!this.producing) {
      this.receive(result);
    }
  }

  /** Whether each value that the interceptors emit is a chunk. `undefined` if an interceptor has responded without calling the handler. */
  get live(): boolean | undefined {
    return this.returned && isObservable(this.returned.value);
  }

  /** Sends the values that the interceptors emit. */
  read(source: PushSource): void {
    if (this.connection.state === 'new') {
      this.connection.feed.start(source);
    }
  }

  /** Releases a result that is not sent. */
  discard(value: unknown): void {
    this.connection.feed.discard(originalOf(value));
  }

  /**
   * Counts the stream against the limits at the first call.
   * @returns whether the stream is admitted. If not, the client has received a response
   */
  enter(): boolean {
    if (this.admitted === undefined) {
      const { request } = this.connection;
      const labels = this.plan.labelsOf(request);
      const access = this.plan.accessOf(request, this.response);
      const admission = this.plan.admit(this.connection, labels);
      this.admitted = admission !== undefined;
      if (admission) {
        this.connection.begin(admission, labels, access);
        if (this.claimed) {
          this.connection.expectMessages();
        }
      }
    }
    return this.admitted;
  }

  /** Starts or joins a run. A HEAD request does not, and only receives the head. */
  private viewOf(runs: RunRoute, invoke: Invoke): unknown {
    const { connection } = this;
    return connection.transport.hasBody
      ? runs.view(connection, (run) => {
          this.producing = run;
          return invoke(this);
        })
      : [];
  }

  private deliver(value: unknown): void {
    try {
      const admitted = this.enter();
      // If the stream has ended already, attach() discards the result.
      this.connection.attach(this.intercepted ? originalOf(value) : value);
      if (!admitted) {
        return;
      }
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
