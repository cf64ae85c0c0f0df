import { connect } from '../connect.js';
import { StreamClientError } from '../errors.js';
import { hrefOf } from '../http.js';
import type { ClientState, ClientStream, ConnectOptions, StreamItem, StreamListeners } from '../options.js';
import { holdLock, onReleased } from './locks.js';
import { errorOf, OPEN, type OpenRequest, type Part, type Port, plain, type ToTab, type ToWorker } from './messages.js';

/** Options of {@link connectShared}. The others of `connect()` cannot be shared: they are functions or objects of one tab, or belong to a request that is not repeated. */
export type SharedOptions = Pick<
  ConnectOptions,
  'as' | 'credentials' | 'errorEvent' | 'headers' | 'idle' | 'maxEventLength' | 'retry' | 'signal'
>;

/** The part of a `MessagePort` that {@link connectShared} uses. */
export interface SharedPort {
  postMessage(message: unknown, transfer: object[]): void;
}

/** The part of a `SharedWorker` that {@link connectShared} uses. */
export interface SharedWorkerLike {
  readonly port: SharedPort;
  addEventListener(type: 'error', listener: () => void): void;
}

/** A `SharedWorker`, its port, or a function that creates the worker, which is called again when the worker was lost. */
export type StreamWorker = SharedWorkerLike | SharedPort | (() => SharedWorkerLike);

const OPTIONS = ['as', 'credentials', 'errorEvent', 'headers', 'idle', 'maxEventLength', 'retry', 'signal'];

/**
 * Receives a stream over a connection that all tabs of the origin share, in a `SharedWorker` whose script calls `shareStreams()`. Tabs share it if they have
 * the same URL and options. A tab that comes later receives the items from then on.
 *
 * - `headers` may be a function: the worker asks the tabs, and takes the first answer.
 * - A tab that reads too slowly does not slow down the others: `lagged` says how many items it misses.
 * - `send()` always throws.
 * - A worker may crash, together with the tab that has started it. If `worker` is a function, it is called again, and `reset` with the reason `worker` says that items are missing.
 *   Otherwise, the stream ends with the code `network`.
 *
 * @param worker the `SharedWorker`, its port, or a function that creates the worker
 * @param url the URL of the stream, relative to the page
 * @throws `StreamClientError` with the code `invalid-url` or `invalid-option`, also for options of `connect()` that cannot be shared
 *
 * @example
 * ```ts
 * const worker = () => new SharedWorker(new URL('./streams.worker.ts', import.meta.url), { type: 'module' });
 * for await (const { data } of connectShared<{ eur: number }>(worker, '/prices/ACME')) show(data.eur);
 * ```
 */
export function connectShared<T = unknown>(
  worker: StreamWorker,
  url: string | URL,
  options: SharedOptions = {},
): ClientStream<T> {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name)) {
      throw new StreamClientError('invalid-option', `"${name}" cannot be shared by tabs: use connect()`);
    }
  }
  const href = hrefOf(url);
  // Only for its checks: it connects when it is read.
  connect(href, options);
  return new TabStream<T>(worker, href, options);
}

class TabStream<T> implements ClientStream<T> {
  state: ClientState = 'connecting';
  lastEventId = '';
  readonly #worker: StreamWorker;
  readonly #url: string;
  readonly #options: SharedOptions;
  readonly #listeners = new Set<readonly [name: string, listener: (...args: never) => void]>();
  readonly #items = this.#read();
  readonly #over = new AbortController();
  #port: Port | undefined;
  #onParts: ((parts: readonly Part[]) => void) | undefined;
  /** The error with which the items end. */
  #failure: readonly [unknown] | undefined;

  constructor(worker: StreamWorker, url: string, options: SharedOptions) {
    this.#worker = worker;
    this.#url = url;
    this.#options = options;
  }

  on<K extends keyof StreamListeners>(name: K, listener: StreamListeners[K]): () => void {
    const entry = [name, listener] as const;
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  send(): void {
    throw new StreamClientError('invalid-state', 'A stream that tabs share sends no messages: use connect()');
  }

  close(): void {
    this.#finish();
  }

  next(): Promise<IteratorResult<StreamItem<T>, undefined>> {
    return this.#items.next();
  }

  return(): Promise<IteratorResult<StreamItem<T>, undefined>> {
    this.close();
    return this.#items.return(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async *#read(): AsyncGenerator<StreamItem<T>, undefined> {
    const { signal } = this.#options;
    const onAbort = (): void => this.#finish([signal?.reason]);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) {
      onAbort();
    }
    try {
      await this.#open();
      while (!this.#isOver) {
        if (!this.#port) {
          this.#change('connecting');
          this.#emit('reset', { reason: 'worker', oldest: null });
          await this.#open();
        }
        for (const part of await this.#pull()) {
          yield* this.#accept(part);
        }
      }
    } catch (error) {
      this.#finish([error]);
    } finally {
      this.#finish();
      signal?.removeEventListener('abort', onAbort);
    }
    if (this.#failure) {
      throw this.#failure[0];
    }
    return undefined;
  }

  get #isOver(): boolean {
    return this.state === 'closed';
  }

  async #open(): Promise<void> {
    const lock = await holdLock(this.#over.signal);
    if (this.#isOver) {
      return;
    }
    const { port1, port2 } = new (
      globalThis as unknown as { MessageChannel: new () => Record<'port1' | 'port2', Port> }
    ).MessageChannel();
    const { headers, signal: _, ...options } = this.#options;
    const asks = typeof headers === 'function';
    this.#port = port1;
    port1.onmessage = ({ data }) => this.#onMessage(data, port1);
    port1.addEventListener('close', () => this.#onGone(port1));
    const sent = asks || !headers ? options : { ...options, headers: [...new Headers(headers)] };
    const request: OpenRequest = { type: OPEN, url: this.#url, options: sent, asks, lock };
    this.#workerPort().postMessage(request, [port2]);
  }

  #workerPort(): SharedPort {
    const worker = typeof this.#worker === 'function' ? this.#worker() : this.#worker;
    if (!('port' in worker)) {
      return worker;
    }
    worker.addEventListener('error', () =>
      this.#finish([new StreamClientError('network', 'The script of the worker cannot be loaded, or has failed')]),
    );
    return worker.port;
  }

  /** Called when the worker at the other side of a port is gone. */
  #onGone(port: Port): void {
    if (this.#isOver || port !== this.#port) {
      return;
    }
    if (typeof this.#worker !== 'function') {
      this.#finish([new StreamClientError('network', 'The worker was lost: create a new SharedWorker')]);
      return;
    }
    port.close();
    this.#port = undefined;
    this.#onParts?.([]);
  }

  #pull(): Promise<readonly Part[]> {
    return new Promise((resolve) => {
      this.#onParts = resolve;
      if (this.#port) {
        this.#send({ type: 'pull' });
      } else {
        resolve([]);
      }
    });
  }

  #onMessage(message: ToTab, port: Port): void {
    if (message.type === 'parts') {
      this.#onParts?.(message.parts);
    } else if (message.type === 'lock') {
      onReleased(message.lock, this.#over.signal, () => this.#onGone(port));
    } else {
      void this.#answer(message.question);
    }
  }

  async #answer(question: number): Promise<void> {
    const { headers } = this.#options;
    try {
      const fresh = typeof headers === 'function' ? await headers() : headers;
      this.#send({ type: 'answer', question, headers: [...new Headers(fresh)] });
    } catch (error) {
      this.#send({ type: 'answer', question, error: plain(error) });
    }
  }

  *#accept(part: Part): Generator<StreamItem<T>> {
    if (this.#isOver) {
      return;
    }
    this.lastEventId = part.id;
    switch (part.name) {
      case 'item':
        yield part.value as StreamItem<T>;
        break;
      case 'state':
        this.#change(part.value, part.error && errorOf(part.error));
        break;
      case 'end':
        this.#finish(part.error && [errorOf(part.error)]);
        break;
      default:
        this.#emit(part.name, part.value);
    }
  }

  #finish(failure?: readonly [unknown]): void {
    this.#failure ??= failure;
    if (!this.#isOver) {
      this.#change('closed', failure?.[0]);
      this.#send({ type: 'close' });
      this.#port?.close();
      this.#over.abort();
      this.#onParts?.([]);
    }
  }

  #send(message: ToWorker): void {
    this.#port?.postMessage(message);
  }

  #change(state: ClientState, error?: unknown): void {
    this.state = state;
    this.#emit('state', state, error);
  }

  /** Calls the listeners. If one throws, the stream ends with its error. */
  #emit(name: keyof StreamListeners, ...args: unknown[]): void {
    for (const [each, listener] of [...this.#listeners]) {
      try {
        if (each === name) {
          (listener as (...args: unknown[]) => void)(...args);
        }
      } catch (error) {
        this.#finish([error]);
      }
    }
  }
}
