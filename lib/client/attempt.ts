import { StreamClientError } from './errors.js';
import type { ConnectOptions } from './options.js';

/** The URL of a stream, or a function that returns it, which is called for every attempt. */
export type StreamUrl = string | URL | (() => string | URL | Promise<string | URL>);

/** How an attempt ended that did not fail. `again`: a long poll, which another one follows. */
export type Ending = 'end' | 'again';

/** The default of the option `idle`, in milliseconds. */
export const IDLE_MS = 45_000;

/** Returns a URL that `fetch()` accepts. @throws {@link StreamClientError} `invalid-url` */
export function hrefOf(url: string | URL): string {
  let href = '';
  try {
    href = new URL(url, (globalThis as { location?: { href?: string } }).location?.href).href;
  } catch {
    // The same error for all.
  }
  if (!/^https?:\/\/[^/@]+\//.test(href)) {
    throw new StreamClientError('invalid-url', `Not an absolute http(s) URL without a password: ${url}`);
  }
  return href;
}

/** Calls a function after a time, in milliseconds. A timer that is too long would be due at once. */
export function after(ms: number, callback: () => void): ReturnType<typeof setTimeout> {
  return setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
}

/** One attempt to receive a stream. Aborting it ends it. */
export class Attempt extends AbortController {
  /** The id after which it resumes. Empty: at the beginning. */
  id: string;
  readonly options: ConnectOptions;

  constructor(options: ConnectOptions, id: string) {
    super();
    this.options = options;
    this.id = id;
  }

  /**
   * Returns the result of a promise, unless the attempt is aborted, or the option `idle` passes.
   * @param errorOf returns the error for that of the promise
   */
  within<V>(promise: V | Promise<V>, errorOf: (error: unknown) => unknown = lost): Promise<V> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      const timer = after(this.options.idle ?? IDLE_MS, () =>
        this.abort(new StreamClientError('idle', 'Nothing was received for too long')),
      );
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', settle);
        // Has no effect on a promise that is settled.
        reject(signal.reason);
      };
      signal.addEventListener('abort', settle);
      Promise.resolve(promise)
        .then(resolve, (error) => reject(signal.aborted ? signal.reason : errorOf(error)))
        .then(settle, settle);
      if (signal.aborted) {
        settle();
      }
    });
  }

  /** Returns a value, or calls the function that returns it. */
  fresh<V>(value: V | (() => V | Promise<V>)): Promise<V> {
    const call = async (): Promise<V> => (typeof value === 'function' ? (value as () => V | Promise<V>)() : value);
    // A token is often fetched: fetch() throws a TypeError if the network is down.
    return this.within(call(), (error) => (error instanceof TypeError ? lost(error) : error));
  }

  /** Yields what a stream delivers. */
  async *valuesOf<V>(stream: ReadableStream<V>): AsyncGenerator<V> {
    const reader = stream.getReader();
    try {
      for (;;) {
        const { done, value } = await this.within(reader.read());
        if (done) {
          return;
        }
        yield value;
      }
    } finally {
      // A fetch() of another library may ignore the signal.
      reader.cancel().catch(() => undefined);
    }
  }
}

/** Returns the error of a connection that was lost. */
export function lost(error: unknown): StreamClientError {
  return new StreamClientError('network', `The connection was lost: ${error}`, error);
}
