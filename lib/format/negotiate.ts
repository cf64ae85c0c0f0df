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

/** A format, and the content type with which it is sent. */
export interface ChosenFormat {
  readonly format: StreamFormat;
  /** `undefined` if the format sets none, as for the body of a web `Response`. */
  readonly contentType: ContentType | undefined;
  /** Headers of the response. They replace those that the application has set. */
  readonly headers?: Readonly<Record<string, string>>;
}

// A media type that only the range */* matches. If it is the best match, the client leaves the choice to the server.
const ANY = 'x-any/x-any';

/** Returns a format with one of its media types, by default the first. */
export function chooseFormat(format: StreamFormat, mediaType: string = format.mediaTypes[0] ?? ''): ChosenFormat {
  const value = format.parameters === undefined ? mediaType : `${mediaType}; ${format.parameters}`;
  // Text and bytes may have any content, such as Markdown or an image, so that the application may set a more precise type.
  return { format, contentType: { value, required: format !== textFormat && format !== bytesFormat } };
}

/**
 * Chooses a format by the `Accept` header (RFC 9110 §12.5.1).
 *
 * @param formats the available formats, in order of preference
 * @param whenAny the result if the client accepts any format: the first of the list, or `auto`, which leaves the choice to the first chunk
 * @returns `undefined` if the client accepts none of the formats
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
  // With a list, a wildcard selects the first format of the list that the rest of the header does not exclude.
  const offered =
    whenAny === 'auto' ? [ANY, ...offers.map(({ offered }) => offered)] : offers.map(({ offered }) => offered);
  const [best] = new Negotiator({ headers: { accept } }).mediaTypes(offered);
  if (best === ANY) {
    return whenAny;
  }
  const offer = offers.find(({ offered }) => offered === best);
  return offer && chooseFormat(offer.format, offer.mediaType);
}

/** Returns the media types of a format in the form that is compared with `Accept`: with its parameters, or else `charset=utf-8`, as all text is UTF-8. */
function offersOf(format: StreamFormat): { format: StreamFormat; mediaType: string; offered: string }[] {
  const parameters = format.parameters ?? 'charset=utf-8';
  return format.mediaTypes.map((mediaType) => ({ format, mediaType, offered: `${mediaType}; ${parameters}` }));
}

/** Chooses the format of a stream by its first chunk. */
export type FormatOfChunk = (chunk: unknown) => ChosenFormat;

const NDJSON = chooseFormat(ndjsonFormat);

/**
 * Returns a function that chooses a format by the first chunk: text for a string, bytes for binary data, otherwise NDJSON.
 * @param onMixed called if an object follows in a stream of text or bytes, where nothing separates it from the chunk before it
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
