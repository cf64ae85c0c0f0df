import type { PushSource, SourceSink } from '../../source/source.js';
import { InOrder } from '../../util/in-order.js';
import { isThenable, markHandled, onRejection, queueable } from '../../util/thenable.js';
import type { PumpPort } from './pump.js';

/** The interface of a connection to a source that pushes. */
export interface PushPort extends PumpPort {
  /** Makes room for one more chunk, in addition to `alsoWaiting` chunks. Returns whether to take it. */
  admit(alsoWaiting: number): boolean;
}

/** Reads a source that cannot be paced. */
export class PushReader implements SourceSink {
  private started = false;
  private ended = false;
  /** Created when a chunk is a promise, or when a hook returns one. */
  private order: InOrder | undefined;

  constructor(
    private readonly source: PushSource,
    private readonly port: PushPort,
  ) {}

  /** Starts the source at the first call. Later calls do nothing, since such a source continues by itself. */
  resume(): void {
    if (!this.started) {
      this.started = true;
      this.port.within(() => this.source.start(this));
    }
  }

  stop(): void {
    if (!this.ended) {
      this.ended = true;
      try {
        this.port.within(() => this.source.stop());
      } catch (error) {
        this.port.late(error);
      }
    }
  }

  /** Never throws: if no code of the producer caught the error, the process would end. */
  next(given: unknown): void {
    try {
      const chunk = queueable(given);
      if (this.ended || !this.port.admit(this.order?.waiting ?? 0)) {
        // The chunk is dropped. But if it is a promise that rejects, its error is reported.
        onRejection(chunk, (error) => (this.ended ? this.port.late(error) : this.port.fail(error)));
        markHandled(chunk);
        return;
      }
      const wait = this.order?.tail ? this.behind(this.order, chunk) : this.port.emit(chunk);
      if (isThenable(wait)) {
        this.follow(wait);
      }
    } catch (error) {
      this.port.fail(error);
    }
  }

  error(error: unknown): void {
    if (this.ended) {
      this.port.late(error);
    } else {
      this.ended = true;
      this.afterAll(() => this.port.fail(error));
    }
  }

  complete(): void {
    if (!this.ended) {
      this.ended = true;
      this.afterAll(() => this.port.complete());
    }
  }

  detach(): void {
    this.ended = true;
  }

  private behind(order: InOrder, chunk: unknown): unknown {
    markHandled(chunk);
    return order.behind(() => this.port.emit(chunk));
  }

  private follow(wait: PromiseLike<unknown>): void {
    this.order ??= new InOrder();
    this.order.hold(wait);
    wait.then(undefined, (error: unknown) => this.port.fail(error));
  }

  private afterAll(run: () => void): void {
    if (this.order?.tail) {
      void this.order.behind(run);
    } else {
      run();
    }
  }
}
