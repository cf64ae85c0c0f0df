import { AsyncResource } from 'node:async_hooks';
import { StreamError, StreamStateError } from '../errors.js';
import { eventStreamPassthrough, PASSTHROUGH } from '../format/passthrough.js';
import type { Source, SourceHead } from '../source/source.js';
import { discard, sourceOf } from '../source/source-of.js';
import type { TransportListener } from '../transport/transport.js';
import { isThenable, shelter } from '../util/thenable.js';
import { isOver } from './connection-state.js';
import type { StreamHooks } from './hooks.js';
import type { PushPort } from './reader/push-reader.js';
import { type Reader, readerOf } from './reader/reader.js';
import { isEventStream, transfer } from './source-head.js';
import type { Admission, StreamParts } from './stream-settings.js';
import { StreamSharing } from './stream-sharing.js';

/** How a stream is fed and kept: its source on one side, its transport and the clock on the other. */
export abstract class StreamCore extends StreamSharing implements TransportListener, PushPort {
  reader: Reader | undefined;
  /** Whether silence does not open the stream: the handler has not returned yet, and may return a `Response`. */
  private undecided = false;

  constructor(parts: StreamParts) {
    super(parts);
    parts.transport.listen(this);
    if (parts.transport.closed) {
      // It left before there was anyone to hear of it: during a guard, for instance.
      this.over({ code: 'client-closed' });
    }
  }

  /** Reads what the handler returned. Nothing: the handler pushes. */
  attach(value: unknown): void {
    this.decide();
    if (this.current === 'closing' || isOver(this.current)) {
      this.discard(value);
      return;
    }
    if (value !== undefined && value !== null) {
      const source = this.within(() => this.sourceOf(value));
      this.reader = this.readerOf(source);
      if (source.kind === 'shared') {
        this.body.hasIds = true;
      } else if (source.head) {
        this.adopt(source.head);
      }
    }
    if (!this.parts.transport.hasBody) {
      this.complete();
    } else if (this.reader?.endless) {
      this.openAtOnce();
    } else {
      this.reader?.resume();
    }
  }

  /** Reads a source that is still to call the handler. */
  attachSource(source: Source): void {
    this.reader = readerOf(source, this);
    this.reader.resume();
  }

  /**
   * The handler is about to be called.
   * @param admissions are left when the stream is over
   */
  begin(admissions: readonly Admission[] = []): void {
    this.reached = true;
    this.parts.admissions = admissions;
    const { registry } = this.parts.settings.services;
    this.beganAt = registry.clock.read();
    this.context = new AsyncResource('StreamConnection');
    registry.add(this);
    this.body.progress();
    this.undecided = !this.parts.settings.namesFormat;
    this.openSoon();
  }

  /** The handler has returned what interceptors pass on chunk by chunk. */
  expectChunks(): void {
    this.decide();
  }

  /** Whether it is over only when somebody ends it. */
  get endless(): boolean {
    return this.reader?.endless === true;
  }

  /** Makes room for one more chunk. Whether to take it. */
  admit(alsoWaiting: number): boolean {
    const verdict = this.body.admit(alsoWaiting);
    if (verdict === 'disconnect') {
      this.cut({ code: 'slow-consumer' });
    }
    return verdict === 'take';
  }

  /** The source has ended. */
  complete(): void {
    void this.end({ code: 'completed' });
  }

  /** Says farewell before the application closes. */
  announceShutdown(retry: number | undefined): void {
    if (this.current !== 'open') {
      return;
    }
    this.attempt(() => {
      if (retry !== undefined && this.body.extensible) {
        this.body.putOwn({ type: 'shutdown', retry, data: {} });
      }
      return this.runHooks('onShutdown', (hooks) => {
        return this.answer(hooks.onShutdown?.(this));
      });
    });
  }

  /** Called by the sweep of the registry. */
  tick(now: number, clock: number, gap: number): void {
    const { settings, transport } = this.parts;
    const { body } = this;
    if (transport.queued) {
      // It is not this client that is slow, but the response before.
      body.progress();
    }
    const silence = now - body.progressAt;
    const ending = this.current === 'closing' || this.current === 'errored';
    if ((body.blocked || ending) && silence >= settings.sendTimeout) {
      this.cut({ code: 'send-timeout' });
    } else if (this.ending === 'truncate') {
      this.finish('truncate');
    } else if (clock - this.beganAt >= settings.maxDuration) {
      void this.end({ code: 'deadline' });
    } else {
      this.attempt(() => this.wake(clock - this.beganAt, silence + gap));
    }
  }

  onDrain(): void {
    this.attempt(() => {
      this.body.onDrain();
      if (this.ending === 'end' || this.ending === 'truncate') {
        this.finish(this.ending);
      } else {
        this.resume();
      }
    });
  }

  onFinish(): void {
    this.over(this.reason ?? { code: 'completed' });
  }

  onClose(error?: Error): void {
    this.over({ code: 'client-closed', ...(error && { error }) });
  }

  protected override addHooks(hooks: StreamHooks): void {
    super.addHooks(hooks);
    this.reader?.refresh?.();
  }

  protected resume(): void {
    if (!isOver(this.current) && this.ready) {
      this.hear();
    }
  }

  protected readerOf(source: Source): Reader {
    return readerOf(source, this);
  }

  protected stopSource(): void {
    const { reader } = this;
    this.reader = undefined;
    reader?.stop();
  }

  /** As the function of the same name, with the route in what it throws. */
  private sourceOf(value: unknown): Source {
    try {
      return sourceOf(value);
    } catch (cause) {
      shelter(value);
      if (cause instanceof StreamError) {
        throw new StreamError(cause.code, `${this.parts.settings.route}: ${cause.message}`, { cause });
      }
      throw cause;
    }
  }

  /** Opens a stream that has been silent for long enough, and keeps the connection of an open one alive. */
  protected wake(age: number, silence: number): void {
    const { settings, transport } = this.parts;
    if (this.current === 'open' && this.headFixed) {
      transport.check?.(settings.heartbeat, settings.services.registry.clock.now());
    }
    if (this.current === 'new' && age >= settings.openDelay) {
      this.openSilent();
    } else if (this.current === 'open' && !this.headFixed && age >= settings.openDelay) {
      this.flushHead();
    } else if (this.current === 'open' && silence >= settings.heartbeat && this.ready && this.body.empty) {
      this.body.beat(this.reader?.position);
    }
  }

  private decide(): void {
    if (this.undecided) {
      this.undecided = false;
      this.openSoon();
    }
  }

  private openSoon(): void {
    if (this.parts.settings.openDelay === 0 && !this.undecided) {
      // Not at once: what the handler throws, or has at hand, comes first.
      setImmediate(() => this.attempt(() => this.openSilent()));
    }
  }

  /** Opens for a source that has something to say only when it happens: its client is to know that it is heard. */
  private openAtOnce(): void {
    if (this.current === 'new' && this.body.format !== undefined) {
      this.commit();
    }
    this.resume();
  }

  private hear(): void {
    const begins = this.reader?.endless && !this.headFixed;
    if (begins && this.body.format !== undefined) {
      this.fixHead();
    }
    if (this.ready) {
      this.reader?.resume();
    }
    if (begins) {
      this.flushHead();
      this.body.flush();
    }
  }

  protected openSilent(): void {
    if (this.current === 'new' && !this.undecided) {
      this.parts.transport.hasBody ? this.openEmpty() : this.complete();
    }
  }

  private adopt(source: SourceHead): void {
    const { head } = this.parts;
    if (this.current !== 'new' || !head) {
      throw new StreamStateError(
        `${this.name}: a Response or a file came after the head had been sent. Raise openDelay, or set it to 'first-chunk', to wait for its status and headers`,
      );
    }
    transfer(source, head);
    this.sourceHeaders = source.defaults;
    const beats = this.parts.settings.heartbeatOfRoute && isEventStream(source);
    this.body.choose(this.parts.passthrough ?? (beats ? eventStreamPassthrough() : PASSTHROUGH));
  }

  /** Releases what a handler returned when nobody will read it. */
  discard(value: unknown): void {
    try {
      const wait = this.within(() => discard(value));
      if (isThenable(wait)) {
        Promise.resolve(wait).then(undefined, (error: unknown) => this.late(error));
      }
    } catch (error) {
      this.late(error);
    }
  }
}
