import type { StreamFormat } from '../format/format.js';
import { Batch } from './batch.js';
import type { LogEvent } from './log-event.js';

/**
 * The events of an audience in a round, as a linked list that ends with the newest event. Audiences that receive the same events share the
 * list, even if their topics differ. If they also have the same format, they share the encoded bytes.
 */
export class Round {
  private readonly length: number;
  private readonly batches: Batch[] = [];

  constructor(
    private readonly event: LogEvent,
    private readonly before: Round | undefined,
  ) {
    this.length = 1 + (before?.length ?? 0);
  }

  /** Returns the batch of its events in a format; see {@link Batch}. */
  batch(first: number, last: number, format: StreamFormat | undefined): Batch {
    let batch = this.batches.find((each) => each.format === format);
    if (!batch) {
      batch = new Batch(first, last, this.batches[0]?.events ?? this.events, format);
      this.batches.push(batch);
    }
    return batch;
  }

  private get events(): LogEvent[] {
    const events = new Array<LogEvent>(this.length);
    for (let round: Round | undefined = this; round; round = round.before) {
      events[round.length - 1] = round.event;
    }
    return events;
  }
}
