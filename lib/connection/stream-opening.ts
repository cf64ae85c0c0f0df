import { AsyncLocalStorage, type AsyncResource } from 'node:async_hooks';
import { shownType } from '../format/page.format.js';
import { isFlushMark } from '../source/flush.js';
import type { CommittedHead } from '../transport/response-head.js';
import { isThenable, shelter } from '../util/thenable.js';
import { Body } from './body/body.js';
import { isOver, type StreamState, transition } from './connection-state.js';
import { type HookChain, having, inTurn, type StreamHooks, throughChunkHooks } from './hooks.js';
import { StreamConnection } from './stream-connection.js';
import type { StreamParts } from './stream-settings.js';

/** Tells what an `onOpen` hook sends, which comes first, from what waits for that hook. Used where there is such a hook only. */
const openingBy = new AsyncLocalStorage<object>();

/** The way of a chunk: it opens the stream if need be, goes through the hooks and into the body. */
export abstract class StreamOpening extends StreamConnection {
  readonly body: Body;
  /** When its handler was called. */
  beganAt = 0;
  /** When its head was handed over. */
  openedAt: number | undefined;
  protected current: StreamState = 'new';
  protected chain: HookChain;
  /** An `onOpen` hook that takes its time: chunks of the source wait for it. */
  protected gate: PromiseLike<void> | undefined;
  /** Of the request, from when its handler is called: interceptors may have changed it until then. */
  protected context: AsyncResource | undefined;
  /** What the source has sent with the head where nothing else is set. */
  protected sourceHeaders: Readonly<Record<string, string>> | undefined;
  private chunkHooks: HookChain;
  private opening: { resolve(): void; reject(error: unknown): void } | undefined;
  private refusal: { readonly error: unknown } | undefined;

  constructor(protected readonly parts: StreamParts) {
    super();
    const { transport, settings, chosen } = parts;
    this.body = new Body(transport, settings, chosen, this);
    this.chain = settings.hooks;
    this.chunkHooks = settings.chunkHooks;
  }

  /** Whether there is room for a chunk of the source. */
  get ready(): boolean {
    return !this.body.blocked && this.gate === undefined;
  }

  /** Takes a chunk. A promise when the next one has to wait for it. */
  emit(chunk: unknown): void | PromiseLike<unknown> {
    if (this.gate === undefined) {
      return this.take(chunk);
    }
    shelter(chunk);
    return this.gate.then(() => this.take(chunk));
  }

  /** Runs in the context of the request. */
  within<R>(run: () => R): R {
    return this.context ? this.context.runInAsyncScope(run) : run();
  }

  /** Resolves when exception filters can no longer answer; rejects with what they should. Nothing: it is so already. */
  opened(): Promise<void> | undefined {
    if (this.refusal) {
      return Promise.reject(this.refusal.error);
    }
    if (this.headFixed || isOver(this.current)) {
      return undefined;
    }
    return new Promise((resolve, reject) => {
      this.opening = { resolve, reject };
    });
  }

  abstract fail(error: unknown): void;

  abstract onDrain(): void;

  /** The source has ended. */
  abstract complete(): void;

  /** Whether the status and headers are on their way: until then an exception filter can answer. */
  protected get headFixed(): boolean {
    return this.parts.head === undefined;
  }

  /** What is sent with it, unless the application has set its own. */
  protected get headers(): Readonly<Record<string, string>> {
    const { headers } = this.parts.transport;
    return this.sourceHeaders ? { ...headers, ...this.sourceHeaders } : headers;
  }

  protected get hasChunkHooks(): boolean {
    return this.chunkHooks.length > 0;
  }

  /** Whether it is an `onOpen` hook of this stream that calls, also after it has waited for something. */
  protected get callerOpens(): boolean {
    return this.gate !== undefined && openingBy.getStore() === this;
  }

  /** Goes on with the source. */
  protected abstract resume(): void;

  /** As {@link emit}, but also while an `onOpen` hook runs: what that sends comes first. */
  protected take(chunk: unknown): void | PromiseLike<unknown> {
    if (isThenable(chunk)) {
      return Promise.resolve(chunk).then((value) => (isOver(this.current) ? shelter(value) : this.take(value)));
    }
    if (isFlushMark(chunk)) {
      return this.body.flush();
    }
    if (this.chunkHooks.length === 0) {
      return this.write(chunk);
    }
    if (this.current === 'new') {
      this.commit();
      if (this.gate) {
        shelter(chunk);
        return this.gate.then(() => this.hook(chunk));
      }
    }
    return this.hook(chunk);
  }

  /** Opens the stream: no more status, no more headers. Runs `onOpen`. */
  protected commit(): void {
    this.current = transition(this.current, 'open');
    const wait = this.runHooks('onOpen', (hooks) => openingBy.run(this, () => hooks.onOpen?.(this)));
    if (wait) {
      this.hold(wait);
    }
  }

  /** Hands the status and headers over, with the content type of the format. */
  protected fixHead(): void {
    const { head, settings, shown, chosen } = this.parts;
    const { contentType, format } = this.body;
    if (!head || isOver(this.current)) {
      return;
    }
    if (chosen?.headers && chosen.format === format) {
      for (const [name, value] of Object.entries(chosen.headers)) {
        head.header(name, value);
      }
    }
    const headers = format?.headers ? { ...this.headers, ...format.headers } : this.headers;
    const committed = head.commit(shown ? shownType(contentType) : contentType, headers);
    this.parts.head = undefined;
    this.openedAt = settings.services.registry.opened(this);
    this.body.open();
    this.settleOpening();
    if (isThenable(committed)) {
      // Nothing may be written before the head.
      this.body.blocked = true;
      Promise.resolve(committed).then(
        (late) => this.beginBody(late),
        (error: unknown) => this.failHead(error),
      );
    } else {
      this.beginMessage(committed);
    }
  }

  /** Sends the head by itself, unless a chunk carries it or the first chunk still decides on the format. */
  protected flushHead(): void {
    const { body } = this;
    if (body.format === undefined || isOver(this.current)) {
      return;
    }
    this.fixHead();
    if (!body.blocked && body.empty) {
      this.parts.transport.flushHead();
    }
  }

  /** Opens without a chunk, unless the first chunk decides on the format. */
  protected openEmpty(): void {
    if (this.current === 'new' && this.body.format !== undefined) {
      this.commit();
      this.flushHead();
    }
  }

  protected runHooks(name: keyof StreamHooks, run: (hooks: StreamHooks) => unknown): void | PromiseLike<void> {
    const chain = having(this.chain, name);
    return chain.length === 0 ? undefined : this.within(() => inTurn(chain, run));
  }

  protected addHooks(hooks: StreamHooks): void {
    this.chain = [...this.chain, hooks];
    this.chunkHooks = having(this.chain, 'beforeChunk');
  }

  /** Lets the handler go, or has it fail with an error for the exception filters. */
  protected settleOpening(refusal?: { readonly error: unknown }): void {
    if (!refusal) {
      this.opening?.resolve();
    } else {
      this.parts.head?.release();
      if (this.opening) {
        this.opening.reject(refusal.error);
      } else {
        this.refusal = refusal;
      }
    }
    this.opening = undefined;
  }

  private beginMessage({ headers, length, dropped }: CommittedHead): void {
    this.body.declare(length);
    this.onDropped(dropped);
    this.parts.transport.begin(headers);
  }

  onDropped(names: readonly string[]): void {
    const unnamed = names.filter((name) => !this.parts.settings.dropped.has(name));
    if (unnamed.length > 0) {
      this.warnOfDropped(unnamed);
    }
  }

  /** Says which headers of the application are not sent, once for each route. */
  private warnOfDropped(names: readonly string[]): void {
    const { settings } = this.parts;
    for (const name of names) {
      settings.dropped.add(name);
    }
    const framing = names.filter((name) => name !== 'content-type');
    if (framing.length > 0) {
      settings.services.logger.warn(
        `${settings.route}: the header ${framing.join(', ')} is not sent: the server frames a stream and keeps its connection. Do not set it`,
      );
    }
    if (framing.length < names.length) {
      settings.services.logger.warn(
        `${settings.route}: the header content-type is not sent as it was set: clients need the type of the format ${this.body.format?.name} to read the body. Do not set it, or use the format text or bytes`,
      );
    }
  }

  private beginBody(head: CommittedHead): void {
    this.beginMessage(head);
    this.onDrain();
    this.flushHead();
  }

  private failHead(error: unknown): void {
    this.fail(error);
    // There is no head to send anything after.
    this.parts.transport.destroy('error');
  }

  private hook(chunk: unknown): void | PromiseLike<unknown> {
    if (isOver(this.current)) {
      return undefined;
    }
    return this.within(() =>
      throughChunkHooks(this.chunkHooks, chunk, this, (next) =>
        isFlushMark(next) ? this.body.flush() : this.write(next),
      ),
    );
  }

  /** As {@link take}, past the hooks. */
  protected write(chunk: unknown): void | PromiseLike<unknown> {
    // Encoded before the head is fixed, so that an error can still have its status.
    const encoded = this.body.encode(chunk);
    return encoded instanceof Promise ? encoded.then((late) => this.pass(late)) : this.pass(encoded);
  }

  private pass(encoded: string | Uint8Array): void | PromiseLike<unknown> {
    if (!this.headFixed) {
      return this.writeFirst(encoded);
    }
    this.body.put(encoded);
  }

  private writeFirst(encoded: string | Uint8Array): void | PromiseLike<unknown> {
    if (this.current === 'new') {
      this.commit();
      if (this.gate) {
        return this.gate.then(() => this.putFirst(encoded));
      }
    }
    this.putFirst(encoded);
  }

  protected putFirst(encoded: string | Uint8Array): void {
    this.fixHead();
    this.body.put(encoded);
    if (!this.parts.transport.hasBody) {
      this.complete();
    } else if (this.body.empty) {
      this.flushHead();
    }
  }

  private hold(wait: PromiseLike<void>): void {
    const release = (): void => {
      this.gate = undefined;
    };
    this.gate = Promise.resolve(wait).then(release, (error: unknown) => {
      release();
      this.fail(error);
    });
    void this.gate.then(() => this.resume());
  }
}
