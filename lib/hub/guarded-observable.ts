import { Observable, type Observer, type Operator, type Subscriber } from 'rxjs';
import { isThenable } from '../util/thenable.js';

type Listener<T> = Partial<Observer<T>> | ((value: T) => void) | null;

/**
 * An Observable that logs the errors of its listeners, also of listeners of Observables that are piped from it. RxJS would rethrow such an
 * error in a timer, which ends the process, so that any client that connects could end it.
 */
export class GuardedObservable<T> extends Observable<T> {
  constructor(
    override source: Observable<unknown>,
    private readonly log: (error: unknown) => void,
  ) {
    super();
  }

  override lift<R>(operator?: Operator<T, R>): Observable<R> {
    const lifted = new GuardedObservable<R>(this, this.log);
    lifted.operator = operator;
    return lifted;
  }

  override subscribe(
    listener?: Listener<T>,
    onError?: ((error: unknown) => void) | null,
    onComplete?: (() => void) | null,
  ): ReturnType<Observable<T>['subscribe']> {
    if (isSubscriber(listener)) {
      return super.subscribe(listener);
    }
    const given: Partial<Observer<T>> =
      typeof listener === 'function' || !listener
        ? { next: listener ?? undefined, error: onError ?? undefined, complete: onComplete ?? undefined }
        : listener;
    return super.subscribe({
      next: (value) => this.guard(() => given.next?.(value)),
      error: (error) => (given.error ? this.guard(() => given.error?.(error)) : this.log(error)),
      complete: () => this.guard(() => given.complete?.()),
    });
  }

  private guard(run: () => unknown): void {
    try {
      const result = run();
      if (isThenable(result)) {
        result.then(undefined, this.log);
      }
    } catch (error) {
      this.log(error);
    }
  }
}

/** Returns whether a listener is the subscriber of an operator, which handles errors itself. The operator may belong to another copy of RxJS. */
function isSubscriber<T>(listener: Listener<T> | undefined): listener is Subscriber<T> {
  return typeof (listener as Partial<Subscriber<T>> | null | undefined)?.unsubscribe === 'function';
}
