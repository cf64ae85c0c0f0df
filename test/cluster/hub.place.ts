import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type Broker, type Hub, type HubOptions, StreamError, StreamingModule } from '../../lib/index.js';
import { LogRecorder } from '../support/app.js';
import { hubOf } from '../support/hub.js';
import type { Place } from './load.js';
import type { Received } from './sequence.js';

/** Longer than any test, so that what a client misses was lost, and not evicted. */
const HISTORY = { limit: 100_000, ttl: 3_600_000 };

export interface HubPlaceOptions {
  readonly hub?: Partial<HubOptions>;
  readonly once?: boolean;
}

/** An application with a hub on a broker of its own, in the process of the test. Clients are loops over subscriptions. */
export class HubPlace implements Place {
  private constructor(
    readonly name: string,
    readonly app: INestApplicationContext,
    readonly hub: Hub,
    readonly logs: LogRecorder,
    /** Whether it publishes with `once`, and again after the error `publish-unknown`. */
    private readonly once: boolean,
  ) {}

  static async start(name: string, broker: Broker, { hub, once = false }: HubPlaceOptions = {}): Promise<HubPlace> {
    class PlaceModule {}
    const logs = new LogRecorder();
    const app = await NestFactory.createApplicationContext(
      {
        module: PlaceModule,
        imports: [
          StreamingModule.forRoot({ broker }),
          StreamingModule.registerHub({ name: 'feed', history: HISTORY, ...hub }),
        ],
      },
      { logger: logs, abortOnError: false },
    );
    return new HubPlace(name, app, hubOf({ app }), logs, once);
  }

  async listen(after: string | undefined, onEvent: (event: Received) => void, signal: AbortSignal): Promise<void> {
    for await (const { id, type, data } of this.hub.subscribe({ after, signal })) {
      onEvent({ id, type, data });
    }
  }

  async publish(key: string): Promise<string> {
    if (!this.once) {
      return this.hub.publish(key);
    }
    for (;;) {
      try {
        return await this.hub.publish(key, { once: key });
      } catch (error) {
        if (!(error instanceof StreamError && error.code === 'publish-unknown')) {
          throw error;
        }
      }
    }
  }

  close(): Promise<void> {
    return this.app.close();
  }
}
