import { kindOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

/** The version of the interface between `nestjs_streaming.h` and this file: `NS_ABI` in the header. */
const ABI = 1;

/** The object that `ns_open()` creates. */
export interface NativeHandle {
  /** The version of the interface. */
  readonly nestjsStreamingAbi: number;
  /**
   * Takes several chunks out of the ring.
   * @param ends receives the number of chunks, and the index at which each ends
   * @param text whether to return a string, if each of the chunks is well-formed UTF-8
   * @returns the chunks, joined. `null` if there is none yet: `onReady` is then called once. `undefined` after the last one
   * @throws the error with which the addon has ended the stream
   */
  take(ends: Uint32Array, text: boolean): string | Buffer | null | undefined;
  /** Stops the producer. */
  cancel(): void;
  /** Returns `true` the first time. */
  claim(): boolean;
  onReady: () => void;
}

/** Returns a handle that was not read before. */
export function handleOf(value: unknown): NativeHandle {
  const abi = (value as Partial<NativeHandle> | null | undefined)?.nestjsStreamingAbi;
  if (typeof value !== 'object' || abi === undefined) {
    throw new StreamError(
      'invalid-argument',
      `fromNative() takes the handle that ns_open() of nestjs_streaming.h creates, not ${kindOf(value)}`,
    );
  }
  if (abi !== ABI) {
    throw new StreamError(
      'invalid-argument',
      `The addon was built with another version of nestjs_streaming.h (interface ${String(abi)}, not ${ABI}): build it again with the header of the installed nestjs-streaming`,
    );
  }
  const handle = value as NativeHandle;
  if (!handle.claim()) {
    throw new StreamError(
      'invalid-argument',
      'The handle was passed to fromNative() before: open a stream with ns_open() for every client. To send the same chunks to several clients, publish them to a hub',
    );
  }
  return handle;
}
