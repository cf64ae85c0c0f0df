import type { IncomingMessage } from 'node:http';
import Negotiator from 'negotiator';
import type { ContentCoding } from './encoders.js';

/** The settings of an application for compression. */
export interface CompressionSettings {
  /** The available content codings, in order of preference. */
  readonly encodings: readonly ContentCoding[];
  /** A body that is complete before its first byte is sent, and has fewer bytes than this, is not encoded. */
  readonly threshold: number;
}

/** The content codings that one client is sent. */
export interface CodingChoice {
  readonly coding: ContentCoding;
  /** The coding for chunks that are also sent to other clients. */
  readonly shared: ContentCoding;
  readonly threshold: number;
}

/** A signature that is missing in the types of `negotiator`. */
interface Preferring {
  encodings(available: readonly string[], options: { readonly preferred: readonly string[] }): string[];
}

const IDENTITY = 'identity';
/** A longer `Accept-Encoding` is ignored: every client can read a body that is not encoded. */
const LONGEST_ACCEPT_ENCODING = 1_024;

/**
 * Chooses a content coding by the `Accept-Encoding` header (RFC 9110 §12.5.3): the one with the highest weight, and among equal weights the
 * one that the application prefers. For the events of hubs, gzip is chosen whenever the client accepts it, as its blocks are
 * compressed once for all clients.
 *
 * @returns `identity` if the body is not to be encoded, also for a header of more than 1024 characters; `undefined` if the client accepts none
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
