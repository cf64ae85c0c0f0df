/** The part of the Web Locks API that is used. It exists on pages of HTTPS and of localhost. */
interface Locks {
  request(
    name: string,
    options: { readonly signal?: AbortSignal },
    onHeld: () => void | Promise<void>,
  ): Promise<unknown>;
}

function locks(): Locks | undefined {
  return (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
}

/**
 * Holds a lock until a signal is aborted. The browser releases it when the page or worker is closed, or has crashed.
 * @returns a promise of its name, which resolves when it is held. `undefined`: there are no locks here
 */
export async function holdLock(until?: AbortSignal): Promise<string | undefined> {
  const all = locks();
  const name = `nestjs-streaming ${Date.now()} ${Math.random()}`;
  if (!all) {
    return undefined;
  }
  return new Promise((resolve) => {
    const held = (): Promise<void> => {
      resolve(name);
      return new Promise((release) => {
        until?.addEventListener('abort', () => release());
        if (until?.aborted) {
          release();
        }
      });
    };
    // Without the lock, the `close` event of the port is all that says that the other side is gone.
    all.request(name, {}, held).catch(() => resolve(undefined));
  });
}

/** Calls the listener when nobody holds the lock any more, unless the signal is aborted before. */
export function onReleased(name: string | undefined, signal: AbortSignal, listener: () => void): void {
  if (name !== undefined) {
    locks()
      ?.request(name, { signal }, () => {
        if (!signal.aborted) {
          listener();
        }
      })
      .catch(() => undefined);
  }
}
