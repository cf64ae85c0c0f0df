import type { StreamCloseCode } from '../../util/errors.js';
import type { SharedChunk } from '../shared-chunk.js';
import type { Transport, TransportListener } from '../transport.js';
import type { BodyCoding } from './body-coding.js';
import { type ContentCoding, type Encoder, encoderOf } from './encoders.js';

/** A body with its own encoder, which is flushed after every write, so that no chunk waits for the next one. */
export class EncodedBody implements BodyCoding {
  private readonly encoder: Encoder;
  /** Whether the transport is full. */
  private held = false;
  /** Whether the connection waits for `onDrain`. */
  private awaited = false;
  /** Whether the connection has written all of the body. It is still notified of drains, to see that the client reads. */
  private ending = false;
  private onEncoded: (() => void) | undefined;

  constructor(
    coding: ContentCoding,
    private readonly transport: Transport,
    private readonly listener: TransportListener,
  ) {
    this.encoder = encoderOf(coding);
    this.encoder.on('data', (encoded: Buffer) => this.forward(encoded));
    this.encoder.on('drain', () => this.notifyDrain());
    this.encoder.on('error', (error) => this.listener.fail(error));
  }

  get bufferedAmount(): number {
    return this.encoder.writableLength + this.encoder.readableLength;
  }

  write(data: string | Uint8Array): boolean {
    if (!this.encoder.destroyed && data.length > 0) {
      this.encoder.write(data);
    }
    this.awaited = this.held || this.encoder.writableNeedDrain;
    return !this.awaited;
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.write(chunk.bytes);
  }

  end(data: string | Uint8Array | undefined, why: StreamCloseCode): void {
    this.ending = true;
    this.encoder.once('end', () => this.attempt(() => this.transport.end(undefined, why)));
    this.encoder.end(data);
  }

  truncate(data: string | Uint8Array = ''): void {
    const { encoder, transport } = this;
    if (encoder.destroyed) {
      // The encoder has failed, so the data cannot be encoded either.
      transport.truncate();
      return;
    }
    this.ending = true;
    this.write(data);
    encoder.flush(() => {
      this.onEncoded = () => {
        this.release();
        transport.truncate();
      };
      this.checkEncoded();
    });
  }

  onDrain(): void {
    this.held = false;
    this.encoder.resume();
    this.notifyDrain();
  }

  release(): void {
    this.onEncoded = undefined;
    this.encoder.destroy();
  }

  private forward(encoded: Buffer): void {
    this.attempt(() => {
      if (!this.transport.write(encoded)) {
        this.held = true;
        this.encoder.pause();
      }
    });
    this.checkEncoded();
  }

  /** Calls the transport from an event of the encoder, where no caller could catch its errors, such as a head that cannot be written. */
  private attempt(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.release();
      this.listener.fail(error);
    }
  }

  private checkEncoded(): void {
    if (this.onEncoded && this.encoder.readableLength === 0 && !this.encoder.destroyed) {
      this.onEncoded();
    }
  }

  private notifyDrain(): void {
    if ((this.awaited || this.ending) && !this.held && !this.encoder.writableNeedDrain) {
      this.awaited = false;
      this.listener.onDrain();
    }
  }
}
