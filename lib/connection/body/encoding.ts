import { type Encoded, type StreamFormat, type StreamFormatState, withState } from '../../format/format.js';
import { JSON_FORMATS } from '../../format/formats.js';
import { encodeSseString, sseFormat } from '../../format/sse.format.js';
import type { StreamCloseCode } from '../../util/errors.js';

/** The encodings of formats without state: all bodies of a format share one. */
const shared = new WeakMap<StreamFormat, Encoding>();

/** The format of a body, with properties of the format that are needed for every chunk. */
export class Encoding {
  readonly format: StreamFormat;
  /** Whether the format has bytes before the first chunk, or between chunks. */
  readonly framed: boolean;
  /** Whether a string may end within a character that the next string continues. */
  readonly continues: boolean;
  /** Encodes a string, where the format has a faster way than to encode an event. */
  readonly encodeString: ((text: string) => string) | undefined;
  private opener: Encoded | undefined;

  private constructor(
    format: StreamFormat,
    private readonly state: StreamFormatState | undefined,
  ) {
    this.format = state ? withState(format, state) : format;
    this.continues = !JSON_FORMATS.has(format);
    this.encodeString = format === sseFormat ? encodeSseString : undefined;
    this.framed = format.open !== undefined || format.separator !== undefined || state?.open !== undefined;
  }

  /** Returns the encoding for one stream. If the format has state, each stream gets its own encoding. */
  static of(format: StreamFormat): Encoding {
    const state = format.perStream?.();
    if (state) {
      return new Encoding(format, state);
    }
    let encoding = shared.get(format);
    if (!encoding) {
      encoding = new Encoding(format, undefined);
      shared.set(format, encoding);
    }
    return encoding;
  }

  /** Whether the format has state for this stream. */
  get counts(): boolean {
    return this.state !== undefined;
  }

  /** The bytes before the first chunk. If the format has state, they are created once, before that chunk. */
  get head(): Encoded {
    this.prepare();
    return this.opener ?? this.format.open ?? '';
  }

  /** Creates the bytes before the first chunk, if the format has state. */
  prepare(): void {
    if (this.state?.open !== undefined) {
      this.opener ??= this.state.open();
    }
  }

  /** Returns the bytes after the last chunk. */
  tail(code: StreamCloseCode): Encoded {
    return this.state?.close?.(code) ?? this.format.close ?? '';
  }
}
