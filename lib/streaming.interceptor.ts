import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { type Observable, of } from 'rxjs';
import type { PushSource, SourceSink } from './source/source.js';
import { isObservable } from './source/source-of.js';
import type { StreamExchange } from './stream-exchange.js';
import { exchangeIn } from './stream-handler.js';
import { markOf } from './stream-metadata.js';

/** What the interceptors make of a handler's result: the values of an Observable one by one, anything else whole. */
class InterceptedSource implements PushSource {
  readonly kind = 'push';
  private subscription: { unsubscribe(): void } | undefined;
  private last: unknown;
  private stopped = false;

  constructor(
    private readonly result: Observable<unknown>,
    private readonly exchange: StreamExchange,
  ) {}

  start(sink: SourceSink): void {
    const live = (): boolean => isObservable(this.exchange.returned);
    const subscription = this.result.subscribe({
      next: (value) => {
        if (live()) {
          sink.next(value);
        } else {
          this.last = value;
        }
      },
      error: (error: unknown) => sink.error(error),
      complete: () => {
        if (live()) {
          sink.complete();
        } else {
          sink.detach();
          this.exchange.deliver(this.last);
        }
      },
    });
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

/** Has the result of a stream route after all other interceptors. Without others it is not needed. */
class StreamingInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    if (context.getType() !== 'http' || !markOf(context.getHandler())) {
      return next.handle();
    }
    const exchange = exchangeIn(context);
    if (exchange.intercepted) {
      return next.handle();
    }
    exchange.intercepted = true;
    return this.serve(exchange, next);
  }

  private async serve(exchange: StreamExchange, next: CallHandler): Promise<Observable<unknown>> {
    exchange.read(new InterceptedSource(next.handle(), exchange));
    await exchange.connection.opened();
    return of(undefined);
  }
}

/** It has no state: one serves every application of the process. */
export const streamingInterceptor: NestInterceptor = new StreamingInterceptor();
