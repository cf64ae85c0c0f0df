import { HttpException, Logger } from '@nestjs/common';
import type { Broker } from '../broker/broker.js';
import { describeError } from '../route/error-body.js';
import type { RunBehavior, RunsOptions } from '../run/run.options.js';
import { ROUTE_RUNS } from '../run/run-naming.js';
import type { RunObserver, RunServices } from '../run/run-services.js';
import { Runs } from '../run/runs.js';
import { stackOf, textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

/** The runs of one application, in the order in which they are registered. */
export class RunRegistrar {
  private readonly logger = new Logger('Runs');
  /** The runs by name. `undefined` while they are being opened. */
  private readonly runs = new Map<string, Runs | undefined>();

  private closed: Promise<void> | undefined;
  /** Is notified about the runs of the application. */
  observer: RunObserver | undefined;

  /** @param brokerOf returns the broker of an option, or that of the application, and counts its use */
  constructor(private readonly brokerOf: (broker: Broker | undefined) => Broker) {}

  /** @throws {StreamError} `duplicate-runs` if the name is registered already. An error of the broker is passed on */
  async open(options: RunsOptions): Promise<Runs> {
    if (this.runs.has(options.name)) {
      throw duplicateRuns(options.name);
    }
    this.runs.set(options.name, undefined);
    const where = `registerRuns() of ${JSON.stringify(options.name)}`;
    const runs = await Runs.open(options, this.brokerOf(options.broker), this.services, where);
    this.runs.set(options.name, runs);
    return runs;
  }

  /**
   * Opens the runs of routes whose handlers are their producers.
   * @param routes the names of the routes
   */
  async openOfRoutes(behavior: RunBehavior | undefined, routes: readonly string[]): Promise<Runs> {
    const options = { ...behavior, name: ROUTE_RUNS };
    const where = `"onDisconnect" of ${routes.join(', ')}`;
    const runs = await Runs.open(options, this.brokerOf(options.broker), this.services, where);
    this.runs.set(options.name, runs);
    return runs;
  }

  *[Symbol.iterator](): Iterator<Runs> {
    for (const runs of this.runs.values()) {
      if (runs) {
        yield runs;
      }
    }
  }

  /** Starts no more runs. Resolves when none is in progress in this process, at the latest after a time. */
  async drain(ms: number): Promise<void> {
    await Promise.all([...this].map((runs) => runs.drain(ms)));
  }

  /** Ends the runs in progress in this process. */
  close(): Promise<void> {
    this.closed ??= this.closeAll();
    return this.closed;
  }

  private async closeAll(): Promise<void> {
    for (const closed of await Promise.allSettled([...this].map((runs) => runs.close()))) {
      if (closed.status === 'rejected') {
        this.logger.warn(`Runs could not be closed: ${textOf(closed.reason)}`);
      }
    }
  }

  private readonly services: RunServices = {
    observer: () => this.observer,
    describeError,
    errorOf: (body) => new HttpException(body, body.statusCode),
    warn: (message, error) => this.logger.warn(error === undefined ? message : `${message}: ${stackOf(error)}`),
  };
}

/** Returns the error for a name that is registered twice. */
export function duplicateRuns(name: string): StreamError {
  return new StreamError(
    'duplicate-runs',
    `The runs "${name}" are registered twice: register them once, and inject them wherever they are needed`,
  );
}
