import { AssertionError } from 'node:assert';
import { clearTimeout, setTimeout } from 'node:timers';
import type { INestApplication } from '@nestjs/common';
import type { StreamRegistry } from '../../connection/registry/stream-registry.js';
import { checkedTimeout } from './checked-timeout.js';
import { registryOf } from './running-app.js';

const DEFAULT_TIMEOUT_MS = 1_000;
const POLL_MS = 2;

/** Options of {@link expectOpenStreams} and {@link expectNoOpenStreams}. */
export interface OpenStreamsOptions {
  /** How long to wait for the expected number of open streams, in milliseconds. Default: 1000. */
  readonly timeout?: number;
}

/**
 * Resolves once exactly `count` streams of the application are open, which means that their handlers were called, and that they have not
 * ended. With {@link useFakeClock}, wait for this before you advance the clock.
 *
 * @param app the application under test
 * @param count the expected number of open streams
 * @param options how long to wait
 * @throws an `AssertionError` if the number differs after `timeout`; the message lists the open streams
 * @throws a `StreamError` with the code `invalid-option` if `timeout` is not a duration in milliseconds
 *
 * @example
 * ```ts
 * const opening = streamOf(app, '/silent-at-first');
 * await expectOpenStreams(app, 1);
 * await clock.advance(1_000);
 * const stream = await opening;
 * ```
 */
export async function expectOpenStreams(
  app: INestApplication,
  count: number,
  { timeout = DEFAULT_TIMEOUT_MS }: OpenStreamsOptions = {},
): Promise<void> {
  const registry = registryOf(app);
  let late = false;
  // A timer of node:timers, and not the clock: fake timers of test runners replace the global clock and timers.
  const timer = setTimeout(() => {
    late = true;
  }, checkedTimeout(timeout));
  try {
    while (registry.size !== count) {
      if (late) {
        throw unexpected(registry, count, timeout);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    clearTimeout(timer);
  }
}

function unexpected(registry: StreamRegistry, count: number, timeout: number): AssertionError {
  const now = registry.clock.read();
  const open = [...registry.open].map(
    ({ id, route, state, beganAt }) => `stream ${id} of ${route}, ${state}, for ${now - beganAt} ms`,
  );
  const list = open.map((each) => `\n  ${each}`).join('');
  return new AssertionError({
    message: `Expected ${count} open streams. After ${timeout} ms there are ${open.length}${list}`,
    actual: open,
    operator: 'expectOpenStreams',
  });
}

/**
 * Resolves once no stream of the application is open. Use it after each test, to check that all of its streams have ended.
 *
 * @throws an `AssertionError` if streams are open after `timeout`; the message lists their id, route, state and age
 * @throws a `StreamError` with the code `invalid-option` if `timeout` is not a duration in milliseconds
 *
 * @example
 * ```ts
 * afterEach(() => expectNoOpenStreams(app));
 * ```
 */
export async function expectNoOpenStreams(app: INestApplication, options?: OpenStreamsOptions): Promise<void> {
  await expectOpenStreams(app, 0, options);
}
