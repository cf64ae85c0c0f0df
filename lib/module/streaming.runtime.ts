import type { Server } from 'node:http';
import { type HttpException, ServiceUnavailableException, UnauthorizedException } from '@nestjs/common';
import { StreamRegistry } from '../connection/registry/stream-registry.js';
import { completeWebSocketOptions, DEFAULTS, given } from '../options/defaults.js';
import type { StreamingModuleOptions } from '../options/streaming.options.js';
import { pathMatcher } from '../platform/path-matcher.js';
import { ServerClosing } from '../platform/server-closing.js';
import { describeError } from '../route/error-body.js';
import { jittered, StreamLimiter } from '../route/limiter.js';
import type { RouteContext } from '../route/route-context.js';
import { RoutePlans } from '../route/route-plans.js';
import { atMost } from '../util/at-most.js';
import { messageOf } from '../util/close-reason.js';
import type { StreamCloseCode } from '../util/errors.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { WebSocketSupport } from '../websocket/websocket-support.js';

/** How long streams may take to close when their hooks or clients hang, in milliseconds. */
const FORCE_CLOSE_AFTER_MS = 500;

/** The part of the hubs of an application that its shutdown uses. */
interface RunningHubs {
  /** Resolves when the published events are delivered to all live subscribers, or wait in their backlogs. */
  settled(): Promise<unknown>;
  /** Ends all subscriptions. The hubs can still publish, to other processes, until they are closed. */
  endSubscriptions(): void;
  readonly runs: {
    /** Starts no more runs. Resolves when none is in progress in this process, at the latest after a time. */
    drain(ms: number): Promise<void>;
    /** Ends the runs in progress in this process. */
    close(): Promise<void>;
  };
}

/** The objects that all streams of one application share. */
export class StreamingRuntime implements RouteContext {
  readonly registry: StreamRegistry;
  readonly services: RouteContext['services'];
  readonly plans = new RoutePlans();
  /** Counts all streams of the application. */
  readonly limiter: StreamLimiter;
  /** The WebSockets of the application, or `undefined` if it accepts none. */
  readonly webSockets: WebSocketSupport | undefined;
  /** Matches the parameter of `Accept` that holds the version of a route, where versions are in media types. */
  versionParameter: RegExp | undefined;
  private draining = false;

  constructor(
    readonly options: StreamingModuleOptions,
    logger: StreamLogger,
  ) {
    const { websocket } = options;
    this.registry = new StreamRegistry(logger);
    this.limiter = new StreamLimiter({ ...DEFAULTS.limits, ...given(options.limits) });
    this.webSockets = websocket
      ? new WebSocketSupport(completeWebSocketOptions(websocket === true ? {} : websocket), logger)
      : undefined;
    this.services = {
      registry: this.registry,
      logger,
      describeError,
      refusal,
      retryDelay: () => this.retryDelay(),
    };
  }

  get websocket(): RouteContext['websocket'] {
    return this.webSockets?.settings;
  }

  /**
   * Ensures that a server closes within a limited time.
   * @param paths returns the paths of the stream routes
   * @returns the object that closes the server
   */
  closeInTime(server: Server, paths: () => readonly string[]): ServerClosing {
    const { grace = DEFAULTS.shutdown.grace } = this.options.shutdown ?? {};
    let matches: ((path: string) => boolean) | undefined;
    const isOurs = (path: string): boolean => {
      matches ??= pathMatcher(paths());
      return matches(path);
    };
    const patience = Math.max(grace, FORCE_CLOSE_AFTER_MS);
    const closing = new ServerClosing(server, { logger: this.services.logger, isOurs, patience });
    closing.watch();
    return closing;
  }

  isDraining(): boolean {
    return this.draining;
  }

  /** Refuses new streams, announces the shutdown to open ones, waits `grace` for them to end, and closes the rest. */
  async shutdown(hubs: RunningHubs): Promise<void> {
    const { grace = DEFAULTS.shutdown.grace } = this.options.shutdown ?? {};
    this.draining = true;
    for (const stream of this.registry.open) {
      stream.announceShutdown(this.retryDelay());
    }
    await this.endEndless(hubs);
    await Promise.all([this.registry.emptied(grace), hubs.runs.drain(grace)]);
    await hubs.runs.close();
    for (const stream of this.registry.open) {
      void stream.end({ code: 'shutdown' });
    }
    await this.registry.emptied(FORCE_CLOSE_AFTER_MS);
    for (const stream of this.registry.open) {
      stream.cut({ code: 'shutdown' });
    }
    await this.webSockets?.close();
    this.registry.clock.stop();
  }

  /** Returns the time after which a client should reconnect, or `undefined` if none is sent. It is random, so that clients do not all reconnect at once. */
  private retryDelay(): number | undefined {
    const { retry = DEFAULTS.shutdown.retry } = this.options.shutdown ?? {};
    return retry === false ? undefined : jittered(retry);
  }

  /** Closes the streams that send the events of a hub, directly or through a generator, since they never end by themselves. */
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

/** Returns the exception for a client whose stream is closed by the server. */
function refusal(code: StreamCloseCode): HttpException {
  const isRefused = code === 'expired' || code === 'revoked';
  return isRefused ? new UnauthorizedException(messageOf(code)) : new ServiceUnavailableException(messageOf(code));
}
