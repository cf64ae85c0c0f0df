import { type Broker, type BrokerStatus, statusOf } from '../broker/broker.js';

// These are no interfaces: the declaration file of a controller that returns them contains their properties, and need not import their names.

/** The state of one broker, in the result of {@link StreamingHealth.check}. */
type BrokerHealth = BrokerStatus & {
  /** The class of the broker. */
  readonly broker: string;
  /** The names of the hubs whose logs it has, in alphabetical order. */
  readonly hubs: readonly string[];
};

/** The result of {@link StreamingHealth.check}. */
type StreamingHealthResult = {
  /** `down` if the application is closing, or if a broker has no connection to its store. */
  readonly status: 'up' | 'down';
  /** Whether the application is closing, and refuses new streams. */
  readonly draining: boolean;
  /** The brokers that can have no connection. A `MemoryBroker` always has its logs. */
  readonly brokers: readonly BrokerHealth[];
};

/** The part of an application that its health depends on. */
interface HealthSource {
  isDraining(): boolean;
  /** The brokers that are used, with the names of their hubs. */
  brokers(): ReadonlyMap<Broker, readonly string[]>;
}

/**
 * Says whether the application can serve streams now, for a readiness probe. Inject it like any provider. Use it as an indicator of
 * `@nestjs/terminus`, or call it in a route of your own.
 *
 * @example
 * ```ts
 * @Get('ready')
 * @HealthCheck()
 * ready() {
 *   return this.health.check([() => this.streaming.check()]);
 * }
 * ```
 */
export class StreamingHealth {
  /** @internal */
  constructor(private readonly source: HealthSource) {}

  /**
   * Returns the health as a result of `@nestjs/terminus`. Never rejects.
   * @param key the name of the result. Default: `streaming`
   */
  async check<Key extends string = 'streaming'>(
    key: Key = 'streaming' as Key,
  ): Promise<Record<Key, StreamingHealthResult>> {
    const draining = this.source.isDraining();
    const brokers = [...this.source.brokers()].flatMap(([broker, hubs]) => {
      const status = statusOf(broker);
      return status ? [{ broker: broker.constructor.name, hubs, ...status }] : [];
    });
    const up = !draining && brokers.every(({ connected }) => connected);
    const result: StreamingHealthResult = { status: up ? 'up' : 'down', draining, brokers };
    return { [key]: result } as Record<Key, StreamingHealthResult>;
  }
}
