import type { Transport } from '../transport.js';

/** The part of a transport that takes the body. */
export type BodySink = Pick<Transport, 'bufferedAmount' | 'write' | 'writeShared' | 'end' | 'truncate'>;

/** What encodes one body on its way to its transport. What it holds itself is its `bufferedAmount`. */
export interface BodyCoding extends BodySink {
  /** The transport can take more. */
  onDrain(): void;
  /** Nobody will read it: frees what it holds. */
  release(): void;
}
