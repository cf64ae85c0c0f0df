import { type ClientState, type ClientStream, StreamClientError, type StreamItem } from '../client/index.js';
import { isHidden, nextFrame } from './frame.js';
import { type KeptId, openStream, type Rendered } from './open-stream.js';
import type { ComponentOptions, UseStreamResult } from './options.js';

/** How long a connection stays open without a component, in milliseconds: a change of route may unmount before it mounts. */
const GRACE_MS = 1_000;
/** How long items are read before the page shows them, in milliseconds: half of a frame. */
const READ_MS = 8;

/** What components render. */
export interface Shown extends Pick<UseStreamResult<unknown, unknown>, 'state' | 'item' | 'error' | 'failureReason'> {
  /** The value that `reduce` has made. `undefined` if there was no item. */
  readonly reduced: { readonly value: unknown } | undefined;
}

const NOTHING = { item: undefined, error: undefined, failureReason: undefined, reduced: undefined };
export const IDLE: Shown = { state: 'idle', ...NOTHING };
export const CONNECTING: Shown = { state: 'connecting', ...NOTHING };

/** A component. */
export interface StreamUser {
  rendered: Rendered;
  /** Renders it again. */
  render(): void;
  /** The stream that it has left. */
  left?: SharedStream | undefined;
}

/** The streams in use, by their keys. */
const streams = new Map<string, SharedStream>();

/** Returns the stream with this key, if it is in use. */
export function sharedStream(key: string | undefined): SharedStream | undefined {
  return key === undefined ? undefined : streams.get(key);
}

/** Begins to use the stream with this key. Returns a function that ends this. */
export function share(key: string | undefined, user: StreamUser): () => void {
  const stream = key === undefined ? undefined : (streams.get(key) ?? new SharedStream(key, user.rendered));
  stream?.add(user);
  if (user.left !== stream) {
    // A component that shows something else now does not come back.
    user.left?.expire(0);
  }
  user.left = undefined;
  return () => stream?.remove(user);
}

/** One connection, and the components that use it. */
export class SharedStream {
  /** What components render now. */
  snapshot = CONNECTING;
  readonly #key: string;
  readonly #users = new Set<StreamUser>();
  /** What components render with the next frame. */
  readonly #next: { -readonly [K in keyof Shown]: Shown[K] } = { ...CONNECTING };
  readonly #kept: KeptId = { id: undefined };
  /** The last render of any component, and the last one with `reduce`. */
  #latest: Rendered;
  #reducing: Rendered;
  #stream: ClientStream | undefined;
  /** Resolves when the next frame is rendered. */
  #frame: Promise<void> | undefined;
  /** When the first change came that the next frame shows. */
  #since = 0;
  #expiry: ReturnType<typeof setTimeout> | undefined;

  constructor(key: string, rendered: Rendered) {
    this.#key = key;
    this.#latest = this.#reducing = rendered;
  }

  add(user: StreamUser): void {
    clearTimeout(this.#expiry);
    streams.set(this.#key, this);
    this.#users.add(user);
    this.update(user.rendered);
    if (!this.#stream) {
      this.#open();
    }
  }

  update(rendered: Rendered): void {
    this.#latest = rendered;
    if (rendered.options.reduce) {
      this.#reducing = rendered;
    }
  }

  remove(user: StreamUser): void {
    this.#users.delete(user);
    user.left = this;
    this.#latest = [...this.#users].at(-1)?.rendered ?? this.#latest;
    // A closed stream has no connection to keep: a component that is mounted later opens a new one.
    this.expire(this.#next.state === 'closed' ? 0 : GRACE_MS);
  }

  /** Closes the stream after a time, in milliseconds, unless a component uses it. */
  expire(ms: number): void {
    if (this.#users.size === 0 && streams.get(this.#key) === this) {
      clearTimeout(this.#expiry);
      this.#expiry = setTimeout(() => {
        streams.delete(this.#key);
        this.close();
      }, ms);
    }
  }

  close(): void {
    this.#stream?.close();
  }

  reconnect(): void {
    const stream = this.#stream;
    // The id of an item that was just read is not kept yet. An empty one was kept when the server ended the stream.
    this.#kept.id = this.#kept.id === '' ? '' : stream?.lastEventId || undefined;
    this.#stream = undefined;
    stream?.close();
    this.#open();
  }

  send(message: unknown): void {
    if (!this.#stream) {
      throw new StreamClientError('invalid-state', 'send() needs an open WebSocket: wait for the state "open"');
    }
    this.#stream.send(message);
  }

  #open(): void {
    this.#change('connecting');
    try {
      const stream = openStream(() => this.#latest, this.#kept);
      this.#stream = stream;
      void this.#read(stream);
    } catch (error) {
      this.#change('closed', error);
    }
  }

  async #read(stream: ClientStream): Promise<void> {
    this.#listen(stream);
    try {
      for await (const item of stream) {
        this.#accept(item);
        if (performance.now() - this.#since > READ_MS && !isHidden()) {
          await this.#frame;
        }
      }
    } catch (error) {
      if (this.#stream === stream) {
        this.#change('closed', error);
      }
    }
  }

  #listen(stream: ClientStream): void {
    let opened = false;
    stream.on('state', (state, error) => {
      if (this.#stream !== stream) {
        return;
      }
      if (state === 'open' && !opened) {
        opened = true;
        // Without an id to resume after, the stream begins at the beginning.
        this.#next.reduced = stream.lastEventId === '' ? undefined : this.#next.reduced;
      }
      this.#change(state, error);
    });
    stream.on('reset', (reset) => {
      this.#next.reduced = undefined;
      this.#show();
      this.#notify(({ onReset }) => onReset?.(reset));
    });
    stream.on('lagged', (lagged) => this.#notify(({ onLagged }) => onLagged?.(lagged)));
    stream.on('warning', (error) => this.#notify(({ onWarning }) => onWarning?.(error)));
  }

  /** Calls a function with the options of each component. */
  #notify(call: (options: ComponentOptions) => void): void {
    for (const { rendered } of this.#users) {
      call(rendered.options);
    }
  }

  #accept(item: StreamItem): void {
    const { reduced } = this.#next;
    const { reduce, initial } = this.#reducing.options;
    this.#next.item = item;
    if (reduce) {
      this.#next.reduced = { value: reduce(reduced ? reduced.value : initial, item) };
    }
    this.#show();
    for (const { rendered } of this.#users) {
      rendered.options.onItem?.(item);
    }
  }

  #change(state: ClientState, error?: unknown): void {
    if (state === this.#next.state && error === undefined) {
      return;
    }
    this.#next.state = state;
    this.#next.error = state === 'closed' ? errorOf(error) : undefined;
    if (state !== 'connecting') {
      this.#next.failureReason = state === 'waiting' ? errorOf(error) : undefined;
    }
    this.#show();
  }

  /** Renders all changes of this frame at once. */
  #show(): void {
    if (!this.#frame) {
      this.#since = performance.now();
      this.#frame = nextFrame().then(() => {
        this.#frame = undefined;
        this.snapshot = { ...this.#next };
        for (const user of this.#users) {
          user.render();
        }
      });
    }
  }
}

function errorOf(error: unknown): Error | undefined {
  return error === undefined || error instanceof Error ? error : new Error(String(error));
}
