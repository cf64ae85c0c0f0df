/** How long a message may take from its first byte to its last, in milliseconds, … */
const MESSAGE_TIMEOUT_MS = 30_000;
/** … and how much longer for each byte that has been received: a client that sends 4 KiB a second is never too slow. */
const MS_PER_BYTE = 1_000 / 4_096;
/** The number of bytes that may come between the fragments of a message, in control frames. */
const CONTROL_BYTES = 65_536;
/** The maximum length of a frame header (RFC 6455 §5.2). */
const HEAD_BYTES = 14;
const MASK_BYTES = 4;

const FIN = 0x80;
const CONTROL = 0x08;

/** How large a message may be. */
export interface MessageLimits {
  readonly maxPayload: number;
  readonly maxFragments: number;
}

/**
 * Measures the unfinished message of a client: for how long it has been unfinished, and how many bytes have been read since it began. All of
 * those may still be in memory, whatever they were, as each fragment is a view of what was read from the socket with it.
 *
 * It reads only the headers of frames (RFC 6455 §5.2), and assumes that clients mask their frames: `ws` closes the connection otherwise.
 */
export class MessageMeter {
  /** Bytes read since the unfinished message began. */
  private bytes = 0;
  /** The number of bytes of the mask and the payload of a frame that are still to come. */
  private rest = 0;
  /** The index of the next byte in the header of a frame: 0 and 1, then those of a length of 2 or 8 bytes. */
  private headOffset = 0;
  private lengthEnd = 0;
  private length = 0;
  /** Whether the last fragment of a message is still to come. */
  private fragmented = false;
  /** When {@link overdue} first saw the unfinished message, or last saw that the client could not send. `undefined` if there is none. */
  private since: number | undefined;

  constructor(private readonly limits: MessageLimits) {}

  /** Reads the next bytes. Returns whether an unfinished message has become too large, together with the control frames in between. */
  read(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length; ) {
      const step = this.rest > 0 ? Math.min(this.rest, chunk.length - at) : 1;
      this.bytes += step;
      if (this.rest > 0) {
        this.rest -= step;
      } else {
        this.readHead(chunk[at] as number);
      }
      at += step;
      if (this.rest === 0 && this.headOffset === 0) {
        this.endFrame();
      }
    }
    const { maxPayload, maxFragments } = this.limits;
    return this.bytes > maxPayload + maxFragments * HEAD_BYTES + CONTROL_BYTES;
  }

  /**
   * Returns whether the unfinished message has taken too long. Has to be called regularly.
   * @param waits whether the client cannot send, because its socket is paused
   */
  overdue(now: number, waits: boolean): boolean {
    if (this.bytes === 0) {
      return false;
    }
    if (waits || this.since === undefined) {
      this.since = now;
    }
    return now - this.since > MESSAGE_TIMEOUT_MS + this.bytes * MS_PER_BYTE;
  }

  private readHead(byte: number): void {
    const headOffset = this.headOffset++;
    if (headOffset === 0) {
      if ((byte & CONTROL) === 0) {
        this.fragmented = (byte & FIN) === 0;
      }
      return;
    }
    if (headOffset === 1) {
      const length = byte & 0x7f;
      this.lengthEnd = length < 126 ? 2 : length === 126 ? 4 : 10;
      this.length = length < 126 ? length : 0;
    } else {
      this.length = this.length * 256 + byte;
    }
    if (this.headOffset === this.lengthEnd) {
      this.headOffset = 0;
      this.rest = this.length + MASK_BYTES;
    }
  }

  private endFrame(): void {
    if (!this.fragmented) {
      this.bytes = 0;
      this.since = undefined;
    }
  }
}
