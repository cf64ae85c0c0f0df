import { AssertionError } from 'node:assert';
import { clearTimeout, setTimeout } from 'node:timers';
import type { INestApplication } from '@nestjs/common';
import type { StreamRegistry } from '../../connection/registry/stream-registry.js';
import { checkedTimeout } from './checked-timeout.js';
import { registryOf } from './running-app.js';

const DEFAULT_TIMEOUT_MS = 1_000;
const POLL_MS = 2;

/** How long {@link expectOpenStreams} and {@link expectNoOpenStreams} wait for streams that come or go. */
export interface OpenStreamsOptions {
  /** In milliseconds. Default: 1000. */
  readonly timeout?: number;
}

/**
 * Resolves once so many streams of the application are open: their handlers have been called, and they are not over. With
 * {@link useFakeClock}, wait for it before the time goes on.
 *
 * @throws {AssertionError} when it is another number after `timeout`; the message lists what is open
 * @throws {StreamError} `invalid-option` for a wrong `timeout`
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
  // Not what the global `process` says: fake timers of test runners stop that too.
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
    message: `${count === 0 ? 'No' : count} streams should be open, and after ${timeout} ms there are ${open.length}${list}`,
    actual: open,
    operator: 'expectOpenStreams',
  });
}

/**
 * Resolves once no stream of the application is open: whatever a test did, nothing has been left behind. Waits for those that are about
 * to close.
 *
 * @throws {AssertionError} when some are open after `timeout`; the message lists them: id, route, state and age
 *
 * @example
 * ```ts
 * afterEach(() => expectNoOpenStreams(app));
 * ```
 */
export async function expectNoOpenStreams(app: INestApplication, options?: OpenStreamsOptions): Promise<void> {
  await expectOpenStreams(app, 0, options);
}
