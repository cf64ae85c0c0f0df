import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { type Observable, of } from 'rxjs';
import { ObservableSource } from '../source/observable.source.js';
import { type PushSource, SOURCE, type SourceSink } from '../source/source.js';
import { onRejection } from '../util/thenable.js';
import type { StreamExchange } from './exchange.js';
import { originalOf } from './interceptable.js';
import { exchangeIn } from './route-handler.js';
import { markOf } from './route-metadata.js';

/** Reads the result of the interceptors of a route. If the handler has returned an Observable, each value is a chunk. Otherwise, the last value is the result. */
class InterceptedSource implements PushSource {
  readonly kind = 'push';
  private readonly source: ObservableSource;
  private held: { readonly value: unknown } | undefined;
  private live = false;

  constructor(
    result: Observable<unknown>,
    private readonly exchange: StreamExchange,
  ) {
    this.source = new ObservableSource(result);
  }

  start(sink: SourceSink): void {
    this.source.start({
      next: (value) => this.next(value, sink),
      error: (error) => {
        this.release();
        sink.error(error);
      },
      complete: () => this.complete(sink),
      detach: (next) => sink.detach(next),
    });
  }

  stop(): void {
    this.source.stop();
    this.release();
  }

  /** Never throws, because no caller could catch the error. */
  private next(value: unknown, sink: SourceSink): void {
    try {
      // If an interceptor emits several values without calling the handler, each of them is a chunk.
      if (this.live || (this.exchange.live ?? this.held !== undefined)) {
        this.send(value, sink);
      } else {
        this.hold(value);
      }
    } catch (error) {
      // The source does not stop by itself when its listener throws: an interval would never end.
      this.stop();
      sink.error(error);
    }
  }

  /** Keeps the last value, as Nest's own routes do. */
  private hold(value: unknown): void {
    onRejection(value, () => undefined);
    if (this.held?.value !== value) {
      this.release();
      this.held = { value };
    }
  }

  private send(value: unknown, sink: SourceSink): void {
    if (!this.exchange.enter()) {
      this.stop();
      return;
    }
    const { held } = this;
    this.live = true;
    this.held = undefined;
    if (held) {
      sink.next(held.value);
    }
    sink.next(value);
  }

  /** Releases a result that is not sent, because another one replaced it or the client is gone. */
  private release(): void {
    const { held } = this;
    this.held = undefined;
    if (held) {
      this.exchange.discard(held.value);
    }
  }

  private complete(sink: SourceSink): void {
    if (this.live || this.exchange.live) {
      sink.complete();
    } else {
      const { held } = this;
      this.held = undefined;
      sink.detach(originalOf(held?.value));
      this.exchange.follow(held?.value);
    }
  }
}

/** The outermost interceptor of a stream route, which receives the result of all others. A route without interceptors does not need it. */
class StreamingInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    const mark = context.getType() === 'http' ? markOf(context.getHandler()) : undefined;
    if (!mark) {
      return next.handle();
    }
    const exchange = exchangeIn(context, mark);
    if (exchange.intercepted) {
      return next.handle();
    }
    exchange.intercepted = true;
    return this.serve(exchange, next);
  }

  private async serve(exchange: StreamExchange, next: CallHandler): Promise<Observable<unknown>> {
    if (exchange.producesRuns) {
      // The interceptors are called in the producer, as the handler is: those who join receive what they make of its result.
      await exchange.run(() => ({ [SOURCE]: () => new InterceptedSource(next.handle(), exchange) }));
    } else {
      exchange.read(new InterceptedSource(next.handle(), exchange));
      await exchange.connection.opened();
    }
    return of(undefined);
  }
}

/** The interceptor has no state: one instance serves all applications of the process. */
export const streamingInterceptor: NestInterceptor = new StreamingInterceptor();
