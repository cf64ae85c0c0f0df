import type { Server } from 'node:http';
import { ServiceUnavailableException } from '@nestjs/common';
import { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { StreamLogger, StreamServices } from '../connection/stream-settings.js';
import { StreamError } from '../errors.js';
import { DEFAULTS, type StreamingModuleOptions } from '../options/streaming.options.js';
import { instanceOf, type PlatformResponse } from '../platform/platform.js';
import { describeError } from '../route/error-body.js';
import { StreamLimiter } from '../route/limiter.js';
import type { StreamPlan } from '../route/route-plan.js';
import { atMost } from '../util/at-most.js';
import { jittered } from '../util/retry-delay.js';
import { pathMatcher } from '../websocket/path-matcher.js';
import { WebSocketSupport } from '../websocket/websocket-support.js';
import { ServerClosing } from './server-closing.js';

/** How long the closing of streams may take when their hooks or clients do not go on, in milliseconds. */
const FORCE_CLOSE_AFTER_MS = 500;

/** By the instance of the HTTP adapter: several applications may run in one process. */
const runtimes = new WeakMap<object, StreamingRuntime>();

/** The runtime of the application a response belongs to. */
export function runtimeOf(response: PlatformResponse): StreamingRuntime {
  // Fastify hands out instances that inherit from the one the application has.
  for (
    let instance: object | null = instanceOf(response);
    instance;
    instance = Object.getPrototypeOf(instance) as object | null
  ) {
    const runtime = runtimes.get(instance);
    if (runtime) {
      return runtime;
    }
  }
  throw new StreamError(
    'module-missing',
    'A stream route was called, but StreamingModule.forRoot() is not among the imports of the application',
  );
}

/** What the shutdown of an application needs of its hubs. */
interface RunningHubs {
  /** Resolves when every subscriber with room for it has received what was published. */
  settled(): Promise<unknown>;
  /** Ends all subscriptions. The hubs can still publish, to other processes, until they are closed. */
  endSubscriptions(): void;
}

/** What the streams of one application share. */
export class StreamingRuntime {
  readonly registry = new StreamRegistry();
  readonly services: StreamServices;
  /** Counts all streams of the application. */
  readonly limiter: StreamLimiter;
  /** The WebSockets of the application, if it takes any. */
  readonly websocket: WebSocketSupport | undefined;
  private readonly plans = new Map<object, Map<object, StreamPlan>>();
  /** Matches the parameter of `Accept` that holds the version of a route, where versions are in media types. */
  versionParameter: RegExp | undefined;
  private draining = false;

  constructor(
    readonly options: StreamingModuleOptions,
    logger: StreamLogger,
  ) {
    const { websocket } = options;
    this.limiter = new StreamLimiter({
      ...options.limits,
      perConnection: options.limits?.perConnection ?? DEFAULTS.perConnection,
    });
    this.websocket = websocket ? new WebSocketSupport(websocket === true ? {} : websocket, logger) : undefined;
    this.services = {
      registry: this.registry,
      logger,
      describeError,
      refusal: (message) => new ServiceUnavailableException(message),
      retryDelay: () => this.retryDelay(),
    };
  }

  /** Makes the runtime known to the requests of an application. */
  serve(instance: object): void {
    const other = runtimes.get(instance);
    if (other && other !== this) {
      throw new StreamError(
        'module-duplicate',
        'StreamingModule.forRoot() is imported twice: import it once, in the root module',
      );
    }
    runtimes.set(instance, this);
  }

  /**
   * Has a server be closed in a limited time, whatever stands in the way of it.
   * @param paths those of the stream routes
   */
  closeInTime(server: Server, paths: () => readonly string[]): void {
    const { grace = DEFAULTS.grace } = this.options.shutdown ?? {};
    let matches: ((path: string) => boolean) | undefined;
    const isOurs = (path: string): boolean => {
      matches ??= pathMatcher(paths());
      return matches(path);
    };
    const patience = Math.max(grace, FORCE_CLOSE_AFTER_MS);
    new ServerClosing(server, { logger: this.services.logger, isOurs, patience }).watch();
  }

  addPlan(controller: object, mark: object, plan: StreamPlan): void {
    const plans = this.plans.get(controller) ?? new Map<object, StreamPlan>();
    this.plans.set(controller, plans.set(mark, plan));
  }

  /** By what the decorator noted: the method itself may be wrapped by other decorators. */
  planOf(controller: object, mark: object): StreamPlan {
    const plan = this.plans.get(controller)?.get(mark);
    if (!plan) {
      throw new StreamError(
        'invalid-option',
        'A stream route was called that was not among the controllers when the application started',
      );
    }
    return plan;
  }

  readonly isDraining = (): boolean => this.draining;

  /** Refuses new streams, says farewell, lets streams end by themselves for a while, and closes the rest. */
  async shutdown(hubs: RunningHubs): Promise<void> {
    const { grace = DEFAULTS.grace } = this.options.shutdown ?? {};
    this.draining = true;
    for (const stream of this.registry.open) {
      stream.announceShutdown(this.retryDelay());
    }
    await this.endEndless(hubs);
    await this.registry.emptied(grace);
    for (const stream of this.registry.open) {
      void stream.end({ code: 'shutdown' });
    }
    await this.registry.emptied(FORCE_CLOSE_AFTER_MS);
    for (const stream of this.registry.open) {
      stream.cut({ code: 'shutdown' });
    }
    await this.websocket?.close();
    this.registry.rest();
  }

  /** When a client is to come back, if it is to be said: differently for each, as they may be many. */
  private retryDelay(): number | undefined {
    const { retry = DEFAULTS.retry } = this.options.shutdown ?? {};
    return retry === false ? undefined : jittered(retry);
  }

  /** Closes the streams that would not end in the grace anyway: those that hear a hub, straight or through a generator. */
  private async endEndless(hubs: RunningHubs): Promise<void> {
    await hubs.settled();
    const endless = [...this.registry.open].filter((stream) => stream.endless);
    const over = Promise.all(endless.map((stream) => stream.end({ code: 'shutdown' })));
    hubs.endSubscriptions();
    await atMost(FORCE_CLOSE_AFTER_MS, over);
    for (const stream of endless) {
      stream.cut({ code: 'shutdown' });
    }
  }
}
