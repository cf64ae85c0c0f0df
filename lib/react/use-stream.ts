'use client';
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { StreamUrl } from '../client/index.js';
import {
  type ComponentOptions,
  keyOf,
  type StreamReduction,
  type UseStreamOptions,
  type UseStreamResult,
} from './options.js';
import { CONNECTING, IDLE, type Shown, type StreamUser, share, sharedStream } from './shared-stream.js';

/** The URL of a stream, or a function that returns it. With `null`, `undefined`, `false` or an empty string, there is no connection. */
export type UseStreamUrl = StreamUrl | null | undefined | false;

/**
 * Shows a stream in a component: it renders with each frame of the page in which something has changed, and not with each item. The stream connects when the
 * component is mounted, and comes back by itself, as `connect()` does. Components with the same URL, method and body share one connection, which is closed
 * one second after the last of them is unmounted. On the server, it does not connect: the state is `connecting`.
 *
 * @param url the URL of the stream
 * @param options how to receive it, and how to make one value of its items
 * @throws `StreamClientError` with the code `invalid-option` if the option `key` is missing; with `throwOnError`, the error that has ended the stream
 *
 * @example
 * ```tsx
 * const { data, state } = useStream<Message, Message[]>('/board', {
 *   initial: [],
 *   reduce: (messages, { data }) => [...messages, data].slice(-100),
 * });
 * ```
 */
export function useStream<T, D>(
  url: UseStreamUrl,
  options: UseStreamOptions<T> & StreamReduction<T, D>,
): UseStreamResult<T, D>;
export function useStream<T>(
  url: UseStreamUrl,
  options: UseStreamOptions<T> & { readonly initial: T },
): UseStreamResult<T, T>;
export function useStream<T = unknown>(
  url: UseStreamUrl,
  options?: UseStreamOptions<T>,
): UseStreamResult<T, T | undefined>;
export function useStream(url: UseStreamUrl, options: ComponentOptions = {}): UseStreamResult<unknown, unknown> {
  const key = url ? keyOf(url, options) : undefined;
  const { reduced, ...snapshot } = useSnapshot(url, options, key);
  const actions = useMemo(
    () => ({
      close: () => sharedStream(key)?.close(),
      reconnect: () => sharedStream(key)?.reconnect(),
      send: (message: unknown) => sharedStream(key)?.send(message),
    }),
    [key],
  );
  if (options.throwOnError && snapshot.error) {
    throw snapshot.error;
  }
  const value = options.reduce ? reduced : snapshot.item && { value: snapshot.item.data };
  return { ...snapshot, ...actions, data: value ? value.value : options.initial };
}

function useSnapshot(url: UseStreamUrl, options: ComponentOptions, key: string | undefined): Shown {
  const user = useRef<StreamUser>({ rendered: { url: '', options }, render: () => undefined });
  useEffect(() => {
    if (url) {
      user.current.rendered = { url, options };
      sharedStream(key)?.update(user.current.rendered);
    }
  });
  const subscribe = useCallback(
    (render: () => void) => {
      user.current.render = render;
      return share(key, user.current);
    },
    [key],
  );
  const initial = key === undefined ? IDLE : CONNECTING;
  return useSyncExternalStore(
    subscribe,
    () => sharedStream(key)?.snapshot ?? initial,
    () => initial,
  );
}
