import Negotiator from 'negotiator';
import { isBinary } from './binary.js';
import { bytesFormat } from './bytes.format.js';
import type { StreamFormat } from './format.js';
import { ndjsonFormat } from './ndjson.format.js';
import { textFormat } from './text.format.js';

/** A format and the media type it is sent as. */
export interface ChosenFormat {
  readonly format: StreamFormat;
  /** Nothing: it is set otherwise. */
  readonly contentType: string | undefined;
}

// Only the range */* matches it: then the client leaves the choice to us.
const ANY = 'x-any/x-any';

/** A format with one of its media types, by default the first. */
export function chooseFormat(format: StreamFormat, mediaType: string = format.mediaTypes[0] ?? ''): ChosenFormat {
  return { format, contentType: format.parameters === undefined ? mediaType : `${mediaType}; ${format.parameters}` };
}

/**
 * Picks by the `Accept` header (RFC 9110 §12.5.1).
 *
 * @param formats what there is, the preferred first
 * @param whenAny what a wildcard gets: the first of the list, or `auto`, which leaves it to the first chunk
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
  const offered = [ANY, ...formats.flatMap((format) => format.mediaTypes)];
  const [best] = new Negotiator({ headers: { accept } }).mediaTypes(offered);
  if (best === undefined || best === ANY) {
    return best === ANY ? whenAny : undefined;
  }
  const format = formats.find(({ mediaTypes }) => mediaTypes.includes(best));
  return format && chooseFormat(format, best);
}

const TEXT = chooseFormat(textFormat);
const BYTES = chooseFormat(bytesFormat);
const NDJSON = chooseFormat(ndjsonFormat);

/** What the first chunk asks for: text for a string, bytes for binary, else NDJSON. */
export function formatOfChunk(chunk: unknown): ChosenFormat {
  if (typeof chunk === 'string') {
    return TEXT;
  }
  return isBinary(chunk) ? BYTES : NDJSON;
}
