import { PASSTHROUGH } from '../format/passthrough.js';
import type { Source, SourceHead } from '../source/source.js';
import { discard, sourceOf } from '../source/source-of.js';
import { isThenable } from '../source/thenable.js';
import type { TransportListener } from '../transport/transport.js';
import { isOver } from './connection-state.js';
import type { PushPort } from './push-reader.js';
import { type Reader, readerOf } from './reader.js';
import { StreamEnding } from './stream-ending.js';
import type { StreamParts } from './stream-opening.js';

/** How a stream is fed and kept: its source on one side, its transport and the clock on the other. */
export abstract class StreamCore extends StreamEnding implements TransportListener, PushPort {
  private reader: Reader | undefined;
  private readonly beganAt = performance.now();

  constructor(parts: StreamParts) {
    super(parts);
    parts.transport.listen(this);
  }

  /** @internal Reads what the handler returned. Nothing: the handler pushes. */
  attach(value: unknown): void {
    if (this.current === 'closing' || isOver(this.current)) {
      this.discard(value);
      return;
    }
    if (value !== undefined && value !== null) {
      const source = this.within(() => sourceOf(value));
      if (source.head) {
        this.adopt(source.head);
      }
      this.reader = readerOf(source, this);
    }
    if (this.parts.transport.hasBody) {
      this.reader?.resume();
    } else {
      this.complete();
    }
  }

  /** @internal Reads a source that is still to call the handler. */
  attachSource(source: Source): void {
    this.reader = readerOf(source, this);
    this.reader.resume();
  }

  /** @internal The handler is about to be called. */
  begin(): void {
    const { registry } = this.parts.settings.services;
    this.reached = true;
    registry.add(this.self);
    this.body.outbox.progressAt = registry.now();
  }

  /** @internal Makes room for one more chunk. Whether to take it. */
  admit(alsoWaiting: number): boolean {
    const verdict = this.body.admit(alsoWaiting);
    if (verdict === 'disconnect') {
      this.cut({ code: 'slow-consumer' });
    }
    return verdict === 'take';
  }

  /** @internal The source has ended. */
  complete(): void {
    void this.end({ code: 'completed' });
  }

  /** @internal Says farewell before the application closes. */
  announceShutdown(retry: number | undefined): void {
    if (this.current !== 'open') {
      return;
    }
    this.attempt(() => {
      if (retry !== undefined && this.body.format?.fields) {
        this.answer({ retry });
      }
      return this.runHooks('onShutdown', (hooks) => {
        const chunk = hooks.onShutdown?.(this.self);
        return isThenable(chunk) ? chunk.then((late) => this.answer(late)) : this.answer(chunk);
      });
    });
  }

  /** @internal Called by the sweep of the registry. */
  tick(now: number): void {
    const { settings, transport } = this.parts;
    const { outbox } = this.body;
    if (transport.queued && this.ending !== 'ended') {
      outbox.progressAt = now;
    }
    const silence = now - outbox.progressAt;
    if ((outbox.blocked || this.ending !== undefined) && silence >= settings.sendTimeout) {
      this.cut({ code: 'send-timeout' });
    } else if (now - this.beganAt >= settings.maxDuration) {
      void this.end({ code: 'deadline' });
    } else if (this.current === 'new' && now - this.beganAt >= settings.openDelay) {
      this.attempt(() => (transport.hasBody ? this.openEmpty() : this.complete()));
    } else if (this.current === 'open' && silence >= settings.heartbeat && this.ready && outbox.empty) {
      this.body.beat();
    }
  }

  /** @internal */
  onDrain(): void {
    this.body.onDrain();
    if (this.ending === 'end' || this.ending === 'truncate') {
      this.finish(this.ending);
    } else {
      this.resume();
    }
  }

  /** @internal */
  onFinish(): void {
    this.over(this.reason ?? { code: 'completed' });
  }

  /** @internal */
  onClose(): void {
    this.over({ code: 'client-closed' });
  }

  protected resume(): void {
    if (!isOver(this.current) && this.ready) {
      this.reader?.resume();
    }
  }

  protected stopSource(): void {
    const { reader } = this;
    this.reader = undefined;
    reader?.stop();
  }

  private adopt({ status, headers }: SourceHead): void {
    const { head } = this.parts;
    head.status(status);
    for (const [name, value] of headers) {
      head.header(name, value);
    }
    this.body.choose(PASSTHROUGH);
  }

  private discard(value: unknown): void {
    try {
      const wait = this.within(() => discard(value));
      if (isThenable(wait)) {
        wait.then(undefined, (error: unknown) => this.late(error));
      }
    } catch (error) {
      this.late(error);
    }
  }
}
