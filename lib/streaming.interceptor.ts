import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { type Observable, of } from 'rxjs';
import type { PushSource, SourceSink } from './source/source.js';
import type { StreamExchange } from './stream-exchange.js';
import { exchangeIn } from './stream-handler.js';
import { markOf } from './stream-mark.js';

/** What the interceptors make of a handler's result: the values of an Observable one by one, anything else whole. */
class InterceptedSource implements PushSource {
  readonly kind = 'push';
  private subscription: { unsubscribe(): void } | undefined;
  private held: { readonly value: unknown } | undefined;
  private live = false;
  private stopped = false;

  constructor(
    private readonly result: Observable<unknown>,
    private readonly exchange: StreamExchange,
  ) {}

  start(sink: SourceSink): void {
    const subscription = this.result.subscribe({
      next: (value) => this.next(value, sink),
      error: (error: unknown) => sink.error(error),
      complete: () => this.complete(sink),
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

  private next(value: unknown, sink: SourceSink): void {
    if (this.stopped) {
      return;
    }
    // An interceptor that answers by itself with several values means each of them.
    const live = this.live || (this.exchange.live ?? this.held !== undefined);
    if (!live) {
      this.held = { value };
      return;
    }
    this.live = true;
    this.send(this.held ? [this.held.value, value] : [value], sink);
    this.held = undefined;
  }

  private send(values: readonly unknown[], sink: SourceSink): void {
    try {
      this.exchange.enter();
      for (const value of values) {
        sink.next(value);
      }
    } catch (error) {
      sink.error(error);
    }
  }

  private complete(sink: SourceSink): void {
    if (this.live || this.exchange.live) {
      sink.complete();
    } else {
      sink.detach();
      this.exchange.deliver(this.held?.value);
    }
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
