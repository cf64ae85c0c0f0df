import { setImmediate } from 'node:timers';
import type { INestApplication } from '@nestjs/common';
import type { StreamRegistry } from '../../connection/registry/stream-registry.js';
import { StreamError } from '../../util/errors.js';
import { registryOf } from './running-app.js';

/** Controls the time of an application's streams: see {@link useFakeClock}. */
export interface FakeClock {
  /**
   * Advances the time by `ms` milliseconds, and runs everything that becomes due, in order. Resolves when all of it has run. Bytes that the
   * server has written may not have arrived at the client yet.
   *
   * @throws a `StreamError` with the code `invalid-argument` if `ms` is negative or not a finite number
   */
  advance(ms: number): Promise<void>;
  /** Returns to the real time. The second call has no effect. */
  restore(): void;
}

/** The applications that have a fake clock. */
const faked = new WeakSet<StreamRegistry>();

/**
 * Stops the time of an application's streams until `restore()`: `heartbeat`, `sendTimeout`, `openDelay`, `maxDuration`, `expiresAt` and `reauthorize` become due
 * only when the test advances the clock. Other timers are not affected: those of handlers, `flush: { ms }`, a hub's `history.ttl` and
 * `shutdown.grace`.
 *
 * @param app the application under test
 * @throws a `StreamError` with the code `invalid-state` if the application already has a fake clock
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
    throw new StreamError('invalid-state', 'This application already has a fake clock: call restore() on it first');
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
        throw new StreamError('invalid-argument', `advance() takes a number of milliseconds, not ${ms}`);
      }
      // Lets data that was sent arrive before the time advances.
      await turn();
      for (const end = now + ms; now < end; ) {
        now = Math.min(end, now + clock.tickMs);
        clock.tick();
        await turn();
      }
    },
    restore: () => {
      // A second call must not restore the clock of another test.
      if (!restored) {
        restored = true;
        faked.delete(registry);
        // Continues from the fake time, because the time of open streams must not go back.
        const ahead = now - read();
        clock.follow(() => read() + ahead, false);
      }
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
