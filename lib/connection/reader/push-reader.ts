import type { PushSource, SourceSink } from '../../source/source.js';
import { isThenable, onRejection, queued, shelter } from '../../util/thenable.js';
import type { PumpPort } from './pump.js';

/** What a pushing source needs of the connection it feeds. */
export interface PushPort extends PumpPort {
  /** Makes room for one more chunk besides those that wait already. Whether to take it. */
  admit(alsoWaiting: number): boolean;
}

/** Feeds a connection from a source that cannot be paced. */
export class PushReader implements SourceSink {
  private started = false;
  private ended = false;
  private waiting = 0;
  private tail: Promise<unknown> | undefined;

  constructor(
    private readonly source: PushSource,
    private readonly port: PushPort,
  ) {}

  /** Starts. Later there is nothing to do: such a source goes on by itself. */
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

  /** Never throws: a producer may have nobody to catch it, and then the process would end. */
  next(given: unknown): void {
    try {
      const chunk = queued(given);
      if (this.ended || !this.port.admit(this.waiting)) {
        // The chunk may be left out, but not the error of one that is a promise.
        onRejection(chunk, (error) => (this.ended ? this.port.late(error) : this.port.fail(error)));
        shelter(chunk);
        return;
      }
      const wait = this.tail ? this.behind(this.tail, chunk) : this.port.emit(chunk);
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
      this.afterTail(() => this.port.fail(error));
    }
  }

  complete(): void {
    if (!this.ended) {
      this.ended = true;
      this.afterTail(() => this.port.complete());
    }
  }

  detach(): void {
    this.ended = true;
  }

  private behind(tail: Promise<unknown>, chunk: unknown): Promise<unknown> {
    shelter(chunk);
    return tail.then(() => this.port.emit(chunk));
  }

  /** Chunks keep their order, also behind a promise or a hook that takes its time. */
  private follow(wait: PromiseLike<unknown>): void {
    this.waiting++;
    const tail: Promise<unknown> = Promise.resolve(wait).then(
      () => this.passed(tail),
      (error: unknown) => {
        this.passed(tail);
        this.port.fail(error);
      },
    );
    this.tail = tail;
  }

  private passed(tail: PromiseLike<unknown>): void {
    this.waiting--;
    if (this.tail === tail) {
      this.tail = undefined;
    }
  }

  private afterTail(run: () => void): void {
    if (this.tail) {
      void this.tail.then(run);
    } else {
      run();
    }
  }
}
