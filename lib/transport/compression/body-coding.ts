import type { Transport } from '../transport.js';

/** The part of a transport that accepts the body. */
export type BodySink = Pick<Transport, 'bufferedAmount' | 'write' | 'writeShared' | 'end' | 'truncate'>;

/** Encodes one body and passes it on to its transport. Its `bufferedAmount` counts only the bytes that it buffers itself. */
export interface BodyCoding extends BodySink {
  /** Called when the transport can accept more. */
  onDrain(): void;
  /** Frees its resources. Called when the rest of the body will not be sent. */
  release(): void;
}
