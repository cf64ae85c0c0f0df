import {
  type ClientState,
  type ConnectOptions,
  StreamClientError,
  type StreamItem,
  type StreamLagged,
  type StreamReset,
  type StreamUrl,
} from '../client/index.js';

/**
 * Options of {@link useStream}: those of `connect()`, and what is special to React. They may be new objects in each render.
 *
 * Components that share a connection also share its options: those of the component that has rendered last are used. New `headers`, and a new `url` that
 * is a function, are used for the next attempt, a new `reduce` for the next item, and other new options after `reconnect()`.
 */
export interface UseStreamOptions<T = unknown> extends Omit<ConnectOptions, 'signal'> {
  /**
   * Names the connection: components with the same key share it, and a new key opens a new one. Required if `url` is a function, or if `body` is neither
   * text nor JSON. With `resume`, the id is kept under this key. Default: made of `url`, `method`, `body` and `as`.
   */
  readonly key?: string;
  /** Whether an error that ends the stream is thrown to the error boundary. Default: `false`. */
  readonly throwOnError?: boolean;
  /** Called for each item. If it throws, the stream ends with its error. */
  readonly onItem?: (item: StreamItem<T>) => void;
  /** Called if items are missing. What `reduce` has made begins again with `initial`. */
  readonly onReset?: (reset: StreamReset) => void;
  /** Called if the server has dropped items, because the page has read too slowly. */
  readonly onLagged?: (lagged: StreamLagged) => void;
  /** Called with an error of the option `resume`. The id is then remembered only until the component is unmounted. */
  readonly onWarning?: (error: unknown) => void;
}

/** How the items of a stream become one value. */
export interface StreamReduction<T, D> {
  /** The value before the first item, and after a `reset`. */
  readonly initial: D;
  /** Returns the value with one more item. It must not change `previous`. If it throws, the stream ends with its error. */
  readonly reduce: (previous: D, item: StreamItem<T>) => D;
}

/** What {@link useStream} returns. */
export interface UseStreamResult<T, D> {
  /** The value that `reduce` has made; without `reduce`, the data of the last item. Before the first item: `initial`. */
  readonly data: D;
  /** The last item. */
  readonly item: StreamItem<T> | undefined;
  /** The state of the connection. `idle`: there is no URL. */
  readonly state: ClientState | 'idle';
  /** The error that has ended the stream. `undefined` if the stream goes on, or if the server or `close()` has ended it. */
  readonly error: Error | undefined;
  /** Why the connection was lost. `undefined` as soon as the stream is `open` again, or `closed`. */
  readonly failureReason: Error | undefined;
  /** Ends the stream for all components that share it. Its data stays. */
  readonly close: () => void;
  /**
   * Connects again at once, after the last id. A stream that has no ids or that the server has ended begins at the beginning, and so does the value of
   * `reduce`.
   */
  readonly reconnect: () => void;
  /**
   * Sends a message over the WebSocket: text or bytes as they are, everything else as JSON.
   * @throws `StreamClientError` with the code `invalid-state` if no WebSocket is open
   */
  readonly send: (message: unknown) => void;
}

/** The options of a component, of whatever type its items are. */
export type ComponentOptions = UseStreamOptions & Partial<StreamReduction<unknown, unknown>>;

/** Returns the key of a connection. @throws `StreamClientError` `invalid-option` if only the user can tell whether two connections are the same */
export function keyOf(url: StreamUrl, { key, method = 'GET', body, as }: ComponentOptions): string {
  if (key !== undefined) {
    return key;
  }
  const isJson = /^\[object (Undefined|String|Object|Array)\]$/.test(Object.prototype.toString.call(body));
  if (typeof url === 'function' || !isJson) {
    throw new StreamClientError('invalid-option', 'useStream() needs the option "key" for this url or body');
  }
  return JSON.stringify([url, method.toUpperCase(), as, body]);
}
