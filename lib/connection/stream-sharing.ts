import type { HubEvent } from '../event/hub-event.js';
import type { StreamFormat } from '../format/format.js';
import type { Losses, SharedPort } from '../source/shared-source.js';
import type { SharedChunk } from '../transport/shared-chunk.js';
import { StreamEnding } from './stream-ending.js';

/** How a stream takes what many others are given too. */
export abstract class StreamSharing extends StreamEnding implements SharedPort {
  get sharedFormat(): StreamFormat | undefined {
    const { body } = this;
    return body.shareable && this.headFixed && !this.hasChunkHooks ? body.format : undefined;
  }

  get losses(): Losses {
    return this.body.losses;
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.body.share(chunk);
  }

  notify(notice: HubEvent): void {
    this.attempt(() => this.write(notice));
  }

  sendPosition(id: string): void {
    this.body.putPosition(id);
  }

  overflow(): void {
    this.cut({ code: 'slow-consumer' });
  }

  abstract override complete(): void;
}
