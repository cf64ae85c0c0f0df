import { AsyncLocalStorage } from 'node:async_hooks';
import type { Encoded } from '../format/format.js';
import { shownType } from '../format/page.format.js';
import { eventStreamPassthrough, PASSTHROUGH } from '../format/passthrough.js';
import type { SourceHead } from '../source/source.js';
import type { CommittedHead, ResponseHead } from '../transport/response-head.js';
import { StreamStateError } from '../util/errors.js';
import { InOrder } from '../util/in-order.js';
import { type Deferred, deferred, isThenable } from '../util/thenable.js';
import type { Body } from './body/body.js';
import type { Lifecycle } from './lifecycle.js';
import type { LongPoll } from './long-poll.js';
import type { StreamScope } from './scope.js';
import { isEventStream, transfer } from './source-head.js';
import type { StreamConnection } from './stream-connection.js';
import type { StreamParts } from './stream-settings.js';

/** Identifies calls from within an `onOpen` hook: the chunks of the hook are sent first, all others wait for it. Only used if there is such a hook. */
const openingBy = new AsyncLocalStorage<object>();

/** The stream that is opened. */
export interface OpeningStream extends StreamConnection {
  readonly body: Body;
  readonly lifecycle: Lifecycle;
  readonly scope: StreamScope;
  readonly feed: { resume(): void };
  /** Called when the head is fixed. */
  headFixed(): void;
  /** Drops the opening, if the head is fixed and `onOpen` has returned. */
  dropOpening(): void;
  onDrain(): void;
  /** Called if headers of the application are not sent. */
  onDropped(names: readonly string[]): void;
  complete(): void;
  fail(error: unknown): void;
}

/** The first phase of a stream, until its head is fixed and `onOpen` has returned: its status and headers, its hooks, and the promise for Nest. */
export class Opening {
  /** Set while the promise of an `onOpen` hook is pending, for which the chunks of the source wait. */
  gate: InOrder | undefined;
  /** Whether the `onOpen` hooks are being called, so that it is not known yet whether one of them returns a promise. */
  private committing = false;
  /** Set while the response may become that of a long poll. */
  poll: LongPoll | undefined;
  /** Whether the handler has not returned yet, and may return a `Response`. Until then, `openDelay` has no effect. */
  undecided = false;
  /** Headers of the source, sent unless the application has set its own. */
  private defaults: Readonly<Record<string, string>> | undefined;
  private waiter: Deferred<void> | undefined;
  /** The error for the exception filters, until Nest asks for it. */
  private refusal: { readonly error: unknown } | undefined;

  constructor(
    private readonly parts: StreamParts,
    private readonly stream: OpeningStream,
  ) {}

  get head(): ResponseHead {
    return this.parts.head;
  }

  /** The headers of the transport and the source, sent unless the application has set its own. */
  private get headers(): Readonly<Record<string, string>> {
    const { headers } = this.parts.transport;
    return this.poll?.headers ?? (this.defaults ? { ...headers, ...this.defaults } : headers);
  }

  /** Whether the head is fixed and `onOpen` has returned. */
  get done(): boolean {
    return this.stream.lifecycle.headFixed && this.gate === undefined && !this.committing;
  }

  /** Whether the current code was called by an `onOpen` hook of this stream, also after an `await`. */
  get callerOpens(): boolean {
    return this.gate !== undefined && openingBy.getStore() === this.stream;
  }

  /** Whether the error for the exception filters still waits for Nest to ask for it. */
  get refused(): boolean {
    return this.refusal !== undefined;
  }

  /** Called before the handler is called. */
  begin(): void {
    this.undecided = !this.parts.settings.namesFormat;
    this.openSoon();
  }

  /** Called when it is known whether the handler has returned a `Response`. */
  decide(): void {
    if (this.undecided) {
      this.undecided = false;
      this.openSoon();
    }
  }

  /** Resolves once the head is fixed. Rejects with the error for the exception filters. Returns `undefined` if the head already is fixed. */
  opened(): Promise<void> | undefined {
    const { lifecycle } = this.stream;
    if (this.refusal) {
      return Promise.reject(this.refusal.error);
    }
    if (lifecycle.headFixed || lifecycle.ended) {
      return undefined;
    }
    this.waiter = deferred();
    return this.waiter.promise;
  }

  /** Opens the stream, so that the status and headers can no longer be set, and runs `onOpen`. */
  commit(): void {
    const { stream } = this;
    stream.lifecycle.open();
    const wait = this.runHooks();
    if (wait) {
      this.holdBehind(wait);
    } else {
      stream.dropOpening();
    }
  }

  /** Fixes the status and headers, with the content type of the format, and passes them to the transport. */
  fixHead(): void {
    const { parts, stream, poll } = this;
    const { lifecycle, body } = stream;
    if (lifecycle.headFixed || lifecycle.ended) {
      return;
    }
    const { head, chosen, shown } = parts;
    poll?.describe(head);
    const { contentType, format } = body;
    if (chosen?.headers && chosen.format === format) {
      for (const [name, value] of Object.entries(chosen.headers)) {
        head.header(name, value);
      }
    }
    const headers = format?.headers ? { ...this.headers, ...format.headers } : this.headers;
    const committed = head.commit(shown ? shownType(contentType) : contentType, headers);
    const pending = isThenable(committed);
    lifecycle.fixHead(pending);
    stream.headFixed();
    body.open();
    this.settle();
    if (pending) {
      this.awaitHead(committed);
    } else {
      this.beginMessage(committed);
    }
    poll?.release();
    stream.dropOpening();
  }

  /** Sends the head without a chunk, unless a chunk follows anyway, or the first chunk still decides the format. */
  flushHead(): void {
    const { body, lifecycle } = this.stream;
    if (this.poll) {
      this.poll.continueAsStreamSoon();
    } else if (body.format !== undefined && !lifecycle.ended) {
      this.fixHead();
      if (!body.blocked && body.empty) {
        this.parts.transport.flushHead();
      }
    }
  }

  /** Opens without a chunk, unless the first chunk decides the format. */
  openEmpty(): void {
    if (this.stream.lifecycle.state === 'new' && this.stream.body.format !== undefined) {
      this.commit();
      this.flushHead();
    }
  }

  /** Opens the stream after `openDelay` without a chunk. */
  openSilent(): void {
    if (!this.poll && !this.undecided && this.stream.lifecycle.state === 'new') {
      this.parts.transport.hasBody ? this.openEmpty() : this.stream.complete();
    }
  }

  /** Writes the first chunk. It was encoded before the head is fixed, so that an error of the format can still get an error status. */
  writeFirst(encoded: Encoded): void | PromiseLike<unknown> {
    if (this.stream.lifecycle.state === 'new') {
      this.commit();
      if (this.gate) {
        return this.gate.behind(() => this.putFirst(encoded));
      }
    }
    this.putFirst(encoded);
  }

  /** Sets the status and headers of a source that has its own, such as a `Response`. Its bytes are sent as they are. */
  adopt(source: SourceHead): void {
    const { parts, stream } = this;
    if (stream.lifecycle.state !== 'new') {
      throw lateHead(stream.scope.name);
    }
    transfer(source, parts.head);
    this.defaults = source.defaults;
    const beats = parts.settings.heartbeatOfRoute && isEventStream(source);
    stream.body.choose(parts.passthrough ?? (beats ? eventStreamPassthrough() : PASSTHROUGH));
  }

  /** Whether the client is an `EventSource` that may be refused with the status 200 and `retry`. */
  get mayRefuseWithRetry(): boolean {
    return this.parts.reconnects === true && this.stream.lifecycle.state === 'new';
  }

  /** Settles the promise for Nest: resolves it, or rejects it with an error for the exception filters. */
  settle(refusal?: { readonly error: unknown }): void {
    const { waiter } = this;
    this.waiter = undefined;
    if (!refusal) {
      waiter?.resolve();
      return;
    }
    this.parts.head.release();
    if (waiter) {
      waiter.reject(refusal.error);
    } else {
      this.refusal = refusal;
    }
  }

  private runHooks(): void | PromiseLike<void> {
    const { stream } = this;
    this.committing = true;
    try {
      return stream.scope.runHooks('onOpen', (hooks) => openingBy.run(stream, () => hooks.onOpen?.(stream)));
    } finally {
      this.committing = false;
    }
  }

  private openSoon(): void {
    if (this.parts.settings.openDelay === 0 && !this.undecided) {
      // In a later turn: errors and chunks that the handler has without waiting come first.
      setImmediate(() => this.stream.scope.attempt(() => this.openSilent()));
    }
  }

  private putFirst(encoded: Encoded): void {
    const { stream, poll } = this;
    const { body } = stream;
    if (poll) {
      poll.put(encoded);
      return;
    }
    this.fixHead();
    body.put(encoded);
    if (!this.parts.transport.hasBody) {
      stream.complete();
    } else if (body.empty) {
      this.flushHead();
    }
  }

  private holdBehind(wait: PromiseLike<void>): void {
    const gate = new InOrder();
    this.gate = gate;
    gate.hold(wait);
    wait.then(undefined, (error: unknown) => this.stream.fail(error));
    void gate.behind(() => {
      this.gate = undefined;
      this.stream.dropOpening();
      this.stream.feed.resume();
    });
  }

  /** Blocks the body until the platform has completed the head. */
  private awaitHead(committed: PromiseLike<CommittedHead>): void {
    const { stream, parts } = this;
    Promise.resolve(committed).then(
      (late) => {
        stream.lifecycle.headWritten();
        this.beginMessage(late);
        stream.onDrain();
        this.flushHead();
      },
      (error: unknown) => {
        stream.fail(error);
        // Without a head, nothing else can be sent.
        parts.transport.destroy('error');
      },
    );
  }

  private beginMessage({ headers, length, dropped }: CommittedHead): void {
    this.stream.body.declare(length);
    this.stream.onDropped(dropped);
    this.parts.transport.begin(headers);
  }
}

/** Returns the error for a source with its own status and headers, if the head was sent before it was returned. */
export function lateHead(name: string): StreamStateError {
  return new StreamStateError(
    `${name}: a Response or a file came after the head had been sent. Raise openDelay, or set it to 'first-chunk', to wait for its status and headers`,
  );
}
