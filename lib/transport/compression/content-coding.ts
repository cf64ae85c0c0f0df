import type { IncomingMessage } from 'node:http';
import Negotiator from 'negotiator';
import type { ContentCoding } from './encoders.js';

/** What an application wants encoded. */
export interface CompressionSettings {
  /** What there is, the preferred first. */
  readonly encodings: readonly ContentCoding[];
  /** A body of fewer bytes that is whole before anything was sent stays as it is. */
  readonly threshold: number;
}

/** What one client may be sent. */
export interface CodingChoice {
  readonly coding: ContentCoding;
  /** For what many others are sent too. */
  readonly shared: ContentCoding;
  readonly threshold: number;
}

/** What the types of the library leave out. */
interface Preferring {
  encodings(available: readonly string[], options: { readonly preferred: readonly string[] }): string[];
}

const IDENTITY = 'identity';
/** A longer `Accept-Encoding` is ignored: any client can read a body as it is. */
const LONGEST_ACCEPT_ENCODING = 1_024;

/**
 * Chooses by the `Accept-Encoding` header (RFC 9110 §12.5.3): what the client weighs highest, and among equals what the
 * application prefers. A hub's blocks are made once for all its clients, so there gzip comes first wherever it may.
 *
 * @returns `identity` for a body that stays as it is, also for a header of more than 1024 characters; `undefined` when nothing is acceptable
 */
export function negotiateCoding(
  request: IncomingMessage,
  { encodings, threshold }: CompressionSettings,
): CodingChoice | 'identity' | undefined {
  if ((request.headers['accept-encoding']?.length ?? 0) > LONGEST_ACCEPT_ENCODING) {
    return IDENTITY;
  }
  const offered = [...encodings, IDENTITY];
  const accepted = (new Negotiator(request) as Preferring).encodings(offered, { preferred: offered });
  const plain = accepted.indexOf(IDENTITY);
  const codings = (plain < 0 ? accepted : accepted.slice(0, plain)) as ContentCoding[];
  const [coding] = codings;
  if (coding === undefined) {
    return plain < 0 ? undefined : IDENTITY;
  }
  const shared = codings.includes('gzip') ? 'gzip' : coding;
  return { coding, shared, threshold: plain < 0 ? 0 : threshold };
}
