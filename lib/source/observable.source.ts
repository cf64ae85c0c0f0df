import { markHandled } from '../util/thenable.js';
import type { PushSource, SourceSink } from './source.js';

/** The used part of an Observable, which may come from another copy of rxjs. */
export interface Subscribable {
  subscribe(observer: { next(value: unknown): void; error(error: unknown): void; complete(): void }): {
    unsubscribe(): void;
  };
}

/** Reads an `Observable` of any copy of rxjs, or any object with `Symbol.observable`. */
export class ObservableSource implements PushSource {
  readonly kind = 'push';
  private subscription: { unsubscribe(): void } | undefined;
  private stopped = false;

  constructor(private readonly observable: Subscribable) {}

  start(sink: SourceSink): void {
    const subscription = this.observable.subscribe({
      next: (value) => {
        // A synchronous Observable may emit after it was unsubscribed from.
        this.stopped ? markHandled(value) : sink.next(value);
      },
      error: (error) => sink.error(error),
      complete: () => sink.complete(),
    });
    // If the Observable emits synchronously, the source may be stopped already.
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
