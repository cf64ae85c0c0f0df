import { setImmediate } from 'node:timers';
import type { INestApplication } from '@nestjs/common';
import type { StreamRegistry } from '../../connection/registry/stream-registry.js';
import { StreamError } from '../../errors.js';
import { registryOf } from './running-app.js';

/** The time of an application's streams, in the hands of a test: see {@link useFakeClock}. */
export interface FakeClock {
  /**
   * Lets so many milliseconds pass, with all that is due in them in its order. Resolves when it has happened; what the server wrote may
   * still be on its way to the client.
   *
   * @throws {StreamError} `invalid-option` for a negative number or none
   */
  advance(ms: number): Promise<void>;
  /** Lets the time go by itself again. */
  restore(): void;
}

/** Applications whose time stands still. */
const faked = new WeakSet<StreamRegistry>();

/**
 * Stops the time of an application's streams, from now until `restore()`: `heartbeat`, `sendTimeout`, `openDelay` and `maxDuration` come
 * when the test says so. Other timers are as they were: those of handlers, `flush: { ms }`, a hub's `history.ttl` and `shutdown.grace`.
 *
 * @throws {StreamError} `invalid-state` when the application has a fake clock already
 *
 * @example
 * ```ts
 * const clock = useFakeClock(app);
 * const stream = await streamOf(app, '/progress', { format: 'sse', all: true });
 * await clock.advance(15_000);
 * deepStrictEqual(await stream.next(), { comment: '' }); // a heartbeat
 * clock.restore();
 * ```
 */
export function useFakeClock(app: INestApplication): FakeClock {
  const registry = registryOf(app);
  if (faked.has(registry)) {
    throw new StreamError('invalid-state', 'This application has a fake clock already: restore() that one first');
  }
  faked.add(registry);
  const { clock } = registry;
  const { read } = clock;
  let now = read();
  let restored = false;
  clock.follow(() => now, true);
  return {
    advance: async (ms) => {
      if (!(ms >= 0 && Number.isFinite(ms))) {
        throw new StreamError('invalid-argument', `advance() takes milliseconds, and not ${ms}`);
      }
      // What has been sent is to arrive before the time goes on.
      await turn();
      for (const end = now + ms; now < end; ) {
        now = Math.min(end, now + clock.tickMs);
        clock.tick();
        await turn();
      }
    },
    restore: () => {
      // A second time, it might be the clock of another test.
      if (!restored) {
        restored = true;
        faked.delete(registry);
        // On from there: for open streams, the time never goes back.
        const ahead = now - read();
        clock.follow(() => read() + ahead, false);
      }
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
