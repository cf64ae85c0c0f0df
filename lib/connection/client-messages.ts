import type { Transport } from '../transport/transport.js';
import { DONE } from '../util/iteration.js';
import { type AuthorizedStream, authorizationOf } from './authorization.js';
import type { Opening } from './opening.js';

/** The messages of a client that cannot send any. */
const NO_MESSAGES: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve(DONE) }),
};

/** The start of a message that may be `{"auth": …}`. Other messages are not parsed. */
const START = /^\s*\{\s*"auth"\s*:/;
const START_BYTES = 64;

/** Returns the messages of the client of a stream. Iterating opens the stream. */
export function messagesOf(stream: {
  readonly transport: Transport;
  readonly opening: Opening | undefined;
  readonly scope: { attempt(run: () => unknown): void };
}): AsyncIterable<string | Uint8Array> {
  const onWait = (): void => stream.scope.attempt(() => stream.opening?.openEmpty());
  // Not called at once: code that only inspects a stream, such as a logger, must not pause its client.
  const begin = () => (stream.transport.receive?.(onWait) ?? NO_MESSAGES)[Symbol.asyncIterator]();
  return { [Symbol.asyncIterator]: begin };
}

/** Passes the token of a message `{"auth": token}` to the `onAuth` hooks. Returns `false` for any other message, and if there are no such hooks. */
export function passToken(
  stream: AuthorizedStream & { readonly scope: { readonly hooks: { readonly takesTokens: boolean } } },
  message: Buffer,
): boolean {
  const found = stream.scope.hooks.takesTokens ? tokenIn(message) : undefined;
  if (found) {
    authorizationOf(stream)?.authenticate(found.token);
  }
  return found !== undefined;
}

function tokenIn(message: Buffer): { readonly token: unknown } | undefined {
  if (!START.test(message.toString('latin1', 0, START_BYTES))) {
    return undefined;
  }
  try {
    const { auth: token, ...others } = JSON.parse(message.toString()) as { readonly auth?: unknown };
    return Object.keys(others).length === 0 ? { token } : undefined;
  } catch {
    return undefined;
  }
}
