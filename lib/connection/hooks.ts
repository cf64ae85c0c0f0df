import { isThenable, markAllHandled, markHandled } from '../util/thenable.js';
import type { StreamConnection, StreamHooks } from './stream-connection.js';

export const HOOK_NAMES = [
  'onOpen',
  'beforeChunk',
  'beforeClose',
  'onError',
  'onShutdown',
  'onAuth',
  'onClose',
] as const;

/** The hooks of a stream, outermost first. The streams of a route share one object, unless a stream adds hooks. */
export class HookChain {
  /** The hooks with the method `beforeChunk`. If there are none, a chunk costs no more than without hooks. */
  readonly ofChunks: readonly StreamHooks[];
  /** Whether there is a hook for the tokens that clients send. */
  readonly takesTokens: boolean;

  constructor(readonly all: readonly StreamHooks[]) {
    this.ofChunks = this.having('beforeChunk');
    this.takesTokens = this.having('onAuth').length > 0;
  }

  /** Returns the hooks that have a method of this name. */
  having(name: keyof StreamHooks): readonly StreamHooks[] {
    return this.all.length === 0 ? this.all : this.all.filter((hooks) => typeof hooks[name] === 'function');
  }

  /** Returns the chain with more hooks, innermost. */
  with(hooks: StreamHooks): HookChain {
    return new HookChain([...this.all, hooks]);
  }
}

/** Calls `run` for one item after the other, and waits for the promises that it returns. Returns a promise only if `run` has returned one. */
export function inTurn<T>(items: readonly T[], run: (item: T) => unknown, from = 0): void | PromiseLike<void> {
  for (let i = from; i < items.length; i++) {
    const wait = run(items[i] as T);
    if (isThenable(wait)) {
      return Promise.resolve(wait).then(() => inTurn(items, run, i + 1));
    }
  }
}

/** Passes a chunk through `beforeChunk` of all hooks, and the results of the last hook to `emit`. */
export function throughChunkHooks(
  chain: readonly StreamHooks[],
  chunk: unknown,
  stream: StreamConnection,
  emit: (chunk: unknown) => unknown,
  from = 0,
): void | PromiseLike<void> {
  const pass = (next: unknown): void | PromiseLike<void> => throughChunkHooks(chain, next, stream, emit, from + 1);
  const onwards = (result: unknown): void | PromiseLike<void> => {
    if (Array.isArray(result) && result !== chunk) {
      markAllHandled(result);
      return inTurn(result, (next) => (isThenable(next) ? Promise.resolve(next).then(pass) : pass(next)));
    }
    return result === undefined ? undefined : pass(result);
  };
  const hooks = chain[from];
  if (hooks === undefined) {
    return emit(chunk) as void | PromiseLike<void>;
  }
  const result = hooks.beforeChunk?.(chunk, stream);
  if (!isThenable(result)) {
    return onwards(result);
  }
  markHandled(chunk);
  return Promise.resolve(result).then(onwards);
}
