import { SOURCE, type Source } from '../source/source.js';
import { demand, keys, oneOf } from '../util/checks.js';
import { StreamError } from '../util/errors.js';
import { handleOf } from './native-handle.js';
import { NativeSource } from './native-source.js';
import { SourceIterator } from './source-iterator.js';
import { Utf8Halves } from './utf8-halves.js';

/** The options of {@link fromNative}. */
export interface FromNativeOptions {
  /**
   * Decodes chunks as UTF-8: they are strings then. Bytes of a character that is not complete wait for the next chunk. Default: chunks are byte arrays, which SSE and
   * NDJSON encode as base64.
   */
  readonly encoding?: 'utf8';
}

const WHERE = 'fromNative()';
const known = keys<FromNativeOptions>({ encoding: oneOf('utf8') });

/** The chunks of an addon, as an async iterable. A route reads its source directly. */
class NativeStream implements AsyncIterable<unknown> {
  private source: NativeSource | undefined;

  constructor(source: NativeSource) {
    this.source = source;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown, unknown> {
    return new SourceIterator(this.take());
  }

  [SOURCE](): Source {
    return this.take();
  }

  private take(): NativeSource {
    const { source } = this;
    if (!source) {
      throw new StreamError(
        'invalid-source',
        `The result of ${WHERE} was read before: open a stream for every reader. To send the same chunks to several clients, publish them to a hub`,
      );
    }
    this.source = undefined;
    return source;
  }
}

/**
 * Returns the chunks that a thread of an addon sends with the functions of `nestjs_streaming.h`, to be returned from a method, published to a hub, or read by
 * `for await`. Each chunk of the addon is one chunk here.
 *
 * A slow client slows the thread down: its ring is read only when the client has room. When the stream ends early, the functions of the header return -1.
 *
 * @param handle what `ns_open()` has created. It can be read once
 * @throws `StreamError` `invalid-argument` if it is no handle, was passed before, or is of an addon that was built with the header of an incompatible
 * version; `invalid-option` for an option that is not valid. While it is read: an `Error` with the message that the addon passes to `ns_close_chunk()`
 *
 * @example
 * ```ts
 * @Sse('tokens')
 * tokens() {
 *   return fromNative(addon.tokens(100), { encoding: 'utf8' });
 * }
 * ```
 */
export function fromNative(handle: object, options: FromNativeOptions & { encoding: 'utf8' }): AsyncIterable<string>;
export function fromNative(handle: object, options?: FromNativeOptions): AsyncIterable<Uint8Array>;
export function fromNative(handle: object, options: FromNativeOptions = {}): AsyncIterable<Uint8Array | string> {
  demand(known, options, WHERE);
  const source = new NativeSource(handleOf(handle), options.encoding === 'utf8' ? new Utf8Halves() : undefined);
  return new NativeStream(source) as AsyncIterable<unknown> as AsyncIterable<Uint8Array | string>;
}
