import { type OverflowPolicy, PROMISE_COST, type QueueLimits } from '../../util/queue-limits.js';
import type { Outbox } from './outbox.js';

/** What to do with a chunk: take it, drop it, or disconnect the client. */
export type Verdict = 'take' | 'drop' | 'disconnect';

/** The body that is to take a chunk. */
interface AdmittingBody {
  readonly outbox: Outbox;
  onDropped(queued: boolean): void;
}

/** Decides what to do with one more chunk whose sender does not wait. Drops queued chunks to make room, if the policy says so. */
export function admit(
  body: AdmittingBody,
  { queue, overflow }: { readonly queue: QueueLimits; readonly overflow: OverflowPolicy },
  alsoWaiting: number,
): Verdict {
  const { outbox } = body;
  if (outbox.held) {
    return 'take';
  }
  const full = (): boolean =>
    outbox.queuedItems + alsoWaiting >= queue.items || outbox.queuedCost + alsoWaiting * PROMISE_COST >= queue.bytes;
  if (!full()) {
    return 'take';
  }
  if (overflow === 'disconnect') {
    return 'disconnect';
  }
  while (overflow === 'drop-oldest' && full() && outbox.dropOldest()) {
    body.onDropped(true);
  }
  if (!full()) {
    return 'take';
  }
  // With `drop-oldest`, no queued chunk could be dropped: they are partly sent, or still in a hook.
  body.onDropped(false);
  return 'drop';
}
