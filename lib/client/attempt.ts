import { StreamClientError } from './errors.js';
import type { Settings } from './options.js';

/** One attempt to receive a stream, or the wait for the next one. It waits for one thing at a time, until it is aborted. */
export class Attempt extends AbortController {
  declare readonly settings: Settings;
  /** Sends a message over the WebSocket that is open. */
  declare send: ((message: unknown) => void) | undefined;
  constructor(settings: Settings) {
    super();
    this.settings = settings;
  }

  /**
   * Returns the result of a promise, unless the attempt is aborted, or the time passes.
   * @param ms how long it waits, in milliseconds
   * @param errorOf returns the error for that of the promise
   */
  wait<V>(promise: Promise<V>, ms = this.settings.idle, errorOf: (error: unknown) => unknown = lost): Promise<V> {
    const { signal } = this;
    const timer = setTimeout(
      () => this.abort(new StreamClientError('idle', `Over ${ms} ms`)),
      // A timer that is too long would be due at once.
      Math.min(ms, 2e9),
    );
    return new Promise<V>((resolve, reject) => {
      // Before the promise is rejected because of the signal.
      signal.onabort = () => reject(signal.reason);
      promise.then(resolve, (error) => reject(errorOf(error)));
      if (signal.aborted) {
        reject(signal.reason);
      }
    }).finally(() => clearTimeout(timer));
  }

  /** Returns a value, or calls the function that returns it. */
  get<V>(value: V | (() => V | Promise<V>)): Promise<V> {
    const call = async (): Promise<V> => (typeof value === 'function' ? (value as () => V | Promise<V>)() : value);
    // A token is often fetched: fetch() throws a TypeError if the network is down.
    return this.wait(call(), undefined, (error) => (/^TypeError/.test(`${error}`) ? lost(error) : error));
  }
}

/** Returns the error of a connection that was lost. */
export function lost(error: unknown): StreamClientError {
  return new StreamClientError('network', `Connection lost: ${error}`, error);
}
