import Negotiator from 'negotiator';
import { isBinary } from './binary.js';
import type { Encoded, StreamFormat } from './format.js';
import { ndjsonFormat } from './ndjson.format.js';
import { bytesFormat, textFormat } from './text.format.js';

/** The content type of a body. */
export interface ContentType {
  /** The value of `Content-Type`. */
  readonly value: string;
  /** Whether clients need it to read the body. If not, a type that the application has set is sent instead. */
  readonly required: boolean;
}

/** A format and the media type it is sent as. */
export interface ChosenFormat {
  readonly format: StreamFormat;
  /** `undefined` if it is set elsewhere. */
  readonly contentType: ContentType | undefined;
  /** Headers that are sent with it, whatever the application has set. */
  readonly headers?: Readonly<Record<string, string>>;
}

// Only the range */* matches it: then the client leaves the choice to us.
const ANY = 'x-any/x-any';

/** A format with one of its media types, by default the first. */
export function chooseFormat(format: StreamFormat, mediaType: string = format.mediaTypes[0] ?? ''): ChosenFormat {
  const value = format.parameters === undefined ? mediaType : `${mediaType}; ${format.parameters}`;
  // Text and bytes may be anything, such as Markdown or an image: the format adds nothing that a client would have to know.
  return { format, contentType: { value, required: format !== textFormat && format !== bytesFormat } };
}

/**
 * Picks by the `Accept` header (RFC 9110 §12.5.1).
 *
 * @param formats what there is, the preferred first
 * @param whenAny the choice for a wildcard alone: the first of the list, or `auto`, which leaves the choice to the first chunk
 * @returns `undefined` when nothing is acceptable
 */
export function negotiateFormat(
  accept: string | undefined,
  formats: readonly StreamFormat[],
  whenAny: ChosenFormat | 'auto',
): ChosenFormat | 'auto' | undefined {
  if (accept === undefined || accept === '' || accept === '*/*') {
    return whenAny;
  }
  const offers = formats.flatMap(offersOf);
  // A list answers a wildcard by its order, but only with what the rest of the header leaves of it.
  const offered =
    whenAny === 'auto' ? [ANY, ...offers.map(({ offered }) => offered)] : offers.map(({ offered }) => offered);
  const [best] = new Negotiator({ headers: { accept } }).mediaTypes(offered);
  if (best === ANY) {
    return whenAny;
  }
  const offer = offers.find(({ offered }) => offered === best);
  return offer && chooseFormat(offer.format, offer.mediaType);
}

/** A media type as it is compared with the ranges of the client: with its parameters, or else the UTF-8 all text here is in. */
function offersOf(format: StreamFormat): { format: StreamFormat; mediaType: string; offered: string }[] {
  const parameters = format.parameters ?? 'charset=utf-8';
  return format.mediaTypes.map((mediaType) => ({ format, mediaType, offered: `${mediaType}; ${parameters}` }));
}

/** Picks the format of a stream by its first chunk. */
export type FormatOfChunk = (chunk: unknown) => ChosenFormat;

const NDJSON = chooseFormat(ndjsonFormat);

/**
 * Makes what picks the format by the first chunk: text for a string, bytes for binary, else NDJSON.
 * @param onMixed called when an object follows in a stream of text or bytes, in which nothing separates it from what is before it
 */
export function byFirstChunk(onMixed: (format: string) => void): FormatOfChunk {
  const [text, bytes] = [textFormat, bytesFormat].map((format) => {
    const chosen = chooseFormat(format);
    const encode = (value: unknown): Encoded => {
      if (typeof value === 'object' && !isBinary(value)) {
        onMixed(format.name);
      }
      return format.encode(value);
    };
    return { ...chosen, format: { ...format, encode } };
  }) as [ChosenFormat, ChosenFormat];
  return (chunk) => (typeof chunk === 'string' ? text : isBinary(chunk) ? bytes : NDJSON);
}
