import { shelter } from '../util/thenable.js';
import type { PushSource, SourceSink } from './source.js';

/** The part of an Observable that is used, whichever copy of rxjs it comes from. */
export interface Subscribable {
  subscribe(observer: { next(value: unknown): void; error(error: unknown): void; complete(): void }): {
    unsubscribe(): void;
  };
}

/** An rxjs `Observable` of this or another copy of rxjs, or anything with `Symbol.observable`. */
export class ObservableSource implements PushSource {
  readonly kind = 'push';
  private subscription: { unsubscribe(): void } | undefined;
  private stopped = false;

  constructor(private readonly observable: Subscribable) {}

  start(sink: SourceSink): void {
    const subscription = this.observable.subscribe({
      next: (value) => {
        // One that emits within one turn goes on after it was stopped.
        this.stopped ? shelter(value) : sink.next(value);
      },
      error: (error) => sink.error(error),
      complete: () => sink.complete(),
    });
    // One that emits while it is being subscribed to may have been stopped by then.
    if (this.stopped) {
      subscription.unsubscribe();
    } else {
      this.subscription = subscription;
    }
  }

  stop(): void {
    this.stopped = true;
    this.subscription?.unsubscribe();
  }
}
