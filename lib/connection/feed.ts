import type { Socket } from 'node:net';
import type { HubEvent } from '../event/hub-event.js';
import type { Encoded, StreamFormat } from '../format/format.js';
import { isFlushMark } from '../source/flush.js';
import type { DirectPort, SharedPort } from '../source/shared-source.js';
import type { Source } from '../source/source.js';
import { discard } from '../source/source-of.js';
import type { DirectTotals, SharedChunk } from '../transport/shared-chunk.js';
import type { Transport } from '../transport/transport.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import type { StreamCloseError } from '../util/errors.js';
import { InOrder } from '../util/in-order.js';
import type { Losses } from '../util/queue-limits.js';
import { isThenable, markHandled, onRejection, queueable } from '../util/thenable.js';
import type { Body } from './body/body.js';
import { throughChunkHooks } from './hooks.js';
import type { BodyEnd, Lifecycle } from './lifecycle.js';
import { lateHead, type Opening } from './opening.js';
import { isResumable, PolledSource } from './reader/polled-source.js';
import type { PushPort } from './reader/push-reader.js';
import { type Reader, readerOf, sourceOfRoute } from './reader/reader.js';
import type { StreamScope } from './scope.js';
import type { StreamConnection } from './stream-connection.js';
import type { StreamSettings } from './stream-settings.js';

/** The stream that receives the chunks. */
interface FedStream extends StreamConnection {
  readonly body: Body;
  readonly lifecycle: Lifecycle;
  readonly scope: StreamScope;
  readonly opening: Opening | undefined;
  readonly transport: Transport;
  readonly settings: StreamSettings;
  readonly ends: { finish(how: BodyEnd): void };
  closeError(): StreamCloseError;
  complete(): void;
  fail(error: unknown): void;
  cut(reason: StreamCloseReason): void;
}

const SENT: Promise<void> = Promise.resolve();

/** Returns a promise whose rejection need not be handled, as in `void stream.send()`: the error is also logged, or passed to `onClose`. */
function optional<P>(promise: Promise<P>): Promise<P> {
  promise.then(undefined, () => undefined);
  return promise;
}

function rejected(error: unknown): Promise<never> {
  return optional(Promise.reject(error));
}

/** Passes chunks to the body of a stream: from its source, from `send()` or from a hub, through the hooks and the format. */
export class Feed implements SharedPort, DirectPort, PushPort {
  reader: Reader | undefined;
  /** Created when a call of `send()` first has to wait for a promise or a hook. */
  private sends: InOrder | undefined;
  /** Whether the event `shutdown` was sent. */
  private referred = false;

  constructor(private readonly stream: FedStream) {}

  private get body(): Body {
    return this.stream.body;
  }

  /** Whether there is room for a chunk of the source. */
  get ready(): boolean {
    return !this.body.blocked && this.stream.opening?.gate === undefined;
  }

  /** Resolves when all sent chunks have passed the hooks. `undefined` if they have already. */
  get unsent(): Promise<unknown> | undefined {
    return this.sends?.tail;
  }

  get sharedFormat(): StreamFormat | undefined {
    const { stream, body } = this;
    return body.shareable && stream.lifecycle.headFixed && stream.scope.hooks.ofChunks.length === 0
      ? body.format
      : undefined;
  }

  get direct(): DirectPort {
    return this;
  }

  get clock(): { now(): number } {
    return this.stream.settings.services.registry.clock;
  }

  get socket(): Socket | undefined {
    const { body, stream } = this;
    return stream.opening === undefined && body.hasNothing && body.outbox.allowsDirect
      ? stream.transport.directSocket
      : undefined;
  }

  get losses(): Losses {
    return this.body.losses;
  }

  /** Reads the result of the handler, or releases it if the stream has ended. If it is `undefined` or `null`, the handler sends chunks itself. */
  attach(value: unknown): void {
    const { stream } = this;
    if (stream.state !== 'new' && stream.state !== 'open') {
      this.discard(value);
      return;
    }
    if (value !== undefined && value !== null) {
      this.read(stream.scope.within(() => sourceOfRoute(value, stream.route)));
    }
    if (!stream.transport.hasBody) {
      stream.complete();
    } else if (!this.reader?.endless) {
      this.reader?.resume();
    } else {
      // The next event may take long, so the head is sent now: the client knows that it is subscribed.
      if (stream.lifecycle.state === 'new' && this.body.format !== undefined) {
        stream.opening?.commit();
      }
      this.resume();
    }
  }

  /** Releases the result of a handler that will not be read. */
  discard(value: unknown): void {
    const { scope } = this.stream;
    try {
      onRejection(
        scope.within(() => discard(value)),
        (error) => scope.late(error),
      );
    } catch (error) {
      scope.late(error);
    }
  }

  /** Sends the event `shutdown`, if the format has events, and the chunks of `onShutdown` hooks. */
  announceShutdown(retry: number | undefined): void {
    const { stream } = this;
    if (stream.state === 'open') {
      stream.scope.attempt(() => {
        this.putShutdown(retry);
        return stream.scope.runHooks('onShutdown', (hooks) => this.sendHookResult(hooks.onShutdown?.(stream)));
      });
    }
  }

  /** Sends the event `shutdown` once: see {@link Body.putShutdown}. */
  putShutdown(retry: number | undefined): void {
    if (!this.referred) {
      this.referred = true;
      this.body.putShutdown(retry);
    }
  }

  /** Reads a source that calls the handler only when it starts. */
  start(source: Source): void {
    this.reader = readerOf(source, this);
    this.reader.resume();
  }

  /** Called when the client can take more. */
  onDrain(): void {
    const { body, ends, lifecycle } = this.stream;
    body.onDrain();
    if (lifecycle.ending) {
      ends.finish(lifecycle.ending);
    } else {
      this.resume();
    }
  }

  /** Resumes reading the source, if there is room. */
  resume(): void {
    const { lifecycle, opening } = this.stream;
    if (lifecycle.ended || !this.ready) {
      return;
    }
    const begins = this.reader?.endless && !lifecycle.headFixed;
    if (begins && this.body.format !== undefined) {
      opening?.fixHead();
    }
    if (this.ready) {
      this.reader?.resume();
    }
    if (begins) {
      opening?.flushHead();
      this.body.flush();
    }
  }

  /** Stops the source, if there is one. */
  stop(): void {
    const { reader } = this;
    this.reader = undefined;
    reader?.stop();
  }

  /** See {@link StreamConnection.send}. */
  send(given: unknown): Promise<void> {
    try {
      return this.accept(queueable(given));
    } catch (error) {
      this.fail(error);
      return rejected(error);
    }
  }

  /** Takes a chunk of the source. Returns a promise if the next chunk has to wait. */
  emit(chunk: unknown): void | PromiseLike<unknown> {
    const { opening, scope } = this.stream;
    if (opening === undefined && typeof chunk === 'string' && scope.hooks.ofChunks.length === 0) {
      // Most chunks: without this, the calls in between cost a fifth of such a chunk.
      return this.write(chunk);
    }
    const gate = opening?.gate;
    if (gate === undefined) {
      return this.take(chunk);
    }
    markHandled(chunk);
    return gate.behind(() => this.take(chunk)) as PromiseLike<unknown>;
  }

  /** Like {@link emit}, but without calling hooks. */
  write(chunk: unknown): void | PromiseLike<unknown> {
    const encoded = this.body.encode(chunk);
    return encoded instanceof Promise ? encoded.then((late) => this.pass(late)) : this.pass(encoded);
  }

  /** Sends the chunk that a hook returned, if any, past the other hooks. */
  sendHookResult(chunk: unknown): void | PromiseLike<unknown> {
    if (isThenable(chunk)) {
      return Promise.resolve(chunk).then((value) => this.sendHookResult(value));
    }
    if (isFlushMark(chunk)) {
      this.body.flush();
    } else if (chunk !== undefined) {
      const encoded = this.body.encode(chunk);
      return encoded instanceof Promise ? encoded.then((late) => this.body.put(late)) : this.body.put(encoded);
    }
  }

  /** Makes room for one more chunk, as the overflow policy says. Returns whether to take it. */
  admit(alsoWaiting: number): boolean {
    const verdict = this.body.admit(alsoWaiting);
    if (verdict === 'disconnect') {
      this.overflow();
    }
    return verdict === 'take';
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.body.share(chunk);
  }

  beginDirect(sent: DirectTotals): void {
    this.body.count(-sent.chunks);
    this.body.outbox.beginDirect(sent);
  }

  endDirect(sent: DirectTotals): void {
    this.body.count(sent.chunks);
    this.body.outbox.endDirect(sent);
  }

  onFull(): void {
    this.body.outbox.block();
    this.stream.transport.awaitDrain?.();
  }

  notify(notice: HubEvent): void {
    this.stream.scope.attempt(() => this.write(notice));
  }

  sendPosition(id: string): void {
    this.body.putPosition(id);
  }

  overflow(): void {
    this.stream.cut({ code: 'slow-consumer' });
  }

  complete(): void {
    this.stream.complete();
  }

  fail(error: unknown): void {
    this.stream.fail(error);
  }

  late(error: unknown): void {
    this.stream.scope.late(error);
  }

  within<R>(run: () => R): R {
    return this.stream.scope.within(run);
  }

  private read(source: Source): void {
    const { opening, transport, scope } = this.stream;
    const poll = transport.hasBody ? opening?.poll : undefined;
    if (source.kind === 'pull' && source.trace !== undefined && scope.call) {
      scope.call.trace = source.trace;
    }
    this.body.hasIds ||= source.kind === 'shared' || 'resumesAfter' in source;
    if (source.kind === 'shared') {
      this.reader = poll ? poll.readerOf(source) : readerOf(source, this);
      return;
    }
    if (poll && source.kind === 'pull' && isResumable(source)) {
      this.reader = poll.readerOf(new PolledSource(source));
      return;
    }
    this.reader = readerOf(source, this);
    if (source.head) {
      if (!opening) {
        throw lateHead(scope.name);
      }
      opening.adopt(source.head);
    }
  }

  private accept(chunk: unknown): Promise<void> {
    const { lifecycle, opening } = this.stream;
    if (!lifecycle.allows('send')) {
      onRejection(chunk, (late) => this.late(late));
      markHandled(chunk);
      return rejected(lifecycle.refusal('send', this.stream.closeError()));
    }
    if (!this.admit(this.sends?.waiting ?? 0)) {
      onRejection(chunk, (late) => this.fail(late));
      markHandled(chunk);
      return lifecycle.ended ? rejected(this.stream.closeError()) : SENT;
    }
    const wait = opening?.callerOpens ? this.take(chunk) : this.inTurn(chunk);
    return isThenable(wait) ? this.follow(wait) : this.room();
  }

  private inTurn(chunk: unknown): unknown {
    const { sends } = this;
    if (!sends?.tail) {
      return this.emit(chunk);
    }
    markHandled(chunk);
    return sends.behind(() => this.emit(chunk));
  }

  private follow(wait: PromiseLike<unknown>): Promise<void> {
    const sent = Promise.resolve(wait).then(
      () => this.room(),
      (error: unknown) => {
        this.fail(error);
        throw error;
      },
    );
    this.sends ??= new InOrder();
    this.sends.hold(wait);
    return optional(sent);
  }

  private room(): Promise<void> {
    if (this.stream.lifecycle.ended) {
      return rejected(this.stream.closeError());
    }
    return this.body.blocked ? optional(this.body.drained()) : SENT;
  }

  /** Like {@link emit}, but does not wait for an `onOpen` hook: the chunks of that hook are sent first. */
  private take(chunk: unknown): void | PromiseLike<unknown> {
    const { lifecycle, scope, opening } = this.stream;
    if (isThenable(chunk)) {
      return Promise.resolve(chunk).then((value) => (lifecycle.ended ? markHandled(value) : this.take(value)));
    }
    if (isFlushMark(chunk)) {
      return this.body.flush();
    }
    if (scope.hooks.ofChunks.length === 0) {
      return this.write(chunk);
    }
    if (lifecycle.state === 'new') {
      opening?.commit();
      if (opening?.gate) {
        markHandled(chunk);
        return opening.gate.behind(() => this.hook(chunk)) as PromiseLike<unknown>;
      }
    }
    return this.hook(chunk);
  }

  private hook(chunk: unknown): void | PromiseLike<unknown> {
    const { lifecycle, scope } = this.stream;
    if (lifecycle.ended) {
      return undefined;
    }
    const emit = (next: unknown) => (isFlushMark(next) ? this.body.flush() : this.write(next));
    return scope.within(() => throughChunkHooks(scope.hooks.ofChunks, chunk, this.stream, emit));
  }

  private pass(encoded: Encoded): void | PromiseLike<unknown> {
    const { opening, lifecycle } = this.stream;
    if (opening !== undefined && !lifecycle.headFixed) {
      return opening.writeFirst(encoded);
    }
    this.body.put(encoded);
  }
}
