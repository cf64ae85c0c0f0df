import { AsyncResource } from 'node:async_hooks';
import type { ChosenFormat } from '../format/negotiate.js';
import { isFlushMark } from '../source/flush.js';
import { isThenable } from '../source/thenable.js';
import type { OutgoingHeaders, Transport } from '../transport/transport.js';
import { Body } from './body.js';
import { isOver, type StreamState, transition } from './connection-state.js';
import { type HookChain, having, inTurn, type StreamHooks, throughChunkHooks } from './hooks.js';
import type { StreamConnection } from './stream-connection.js';
import type { ResponseHead, StreamSettings } from './stream-settings.js';

/** What makes up a connection. */
export interface StreamParts {
  readonly id: string;
  readonly request: unknown;
  readonly transport: Transport;
  readonly head: ResponseHead;
  readonly settings: StreamSettings;
  /** The format, or nothing when the first chunk decides. */
  readonly chosen: ChosenFormat | undefined;
  readonly lastEventId: string | undefined;
}

/** Sent with every stream, unless the application has set its own. In lower case, as platforms compare them so. */
const STREAM_HEADERS = {
  // RFC 9111 §5.2.2: not stored without asking, not changed (compressed, held back) on the way.
  'cache-control': 'no-cache, no-transform',
  // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
  // https://datatracker.ietf.org/doc/draft-ietf-httpbis-incremental/
  incremental: '?1',
};

/** The way of a chunk: it opens the stream if need be, goes through the hooks and into the body. */
export abstract class StreamOpening {
  /** @internal */
  readonly body: Body;
  protected current: StreamState = 'new';
  protected chain: HookChain;
  private chunkHooks: HookChain;
  /** An `onOpen` hook that takes its time: chunks of the source wait for it. */
  protected gate: PromiseLike<void> | undefined;
  private opening: { resolve(): void; reject(error: unknown): void } | undefined;
  private refusal: { readonly error: unknown } | undefined;
  private readonly context = new AsyncResource('StreamConnection');

  constructor(protected readonly parts: StreamParts) {
    const { transport, settings, chosen } = parts;
    this.body = new Body(transport, settings, chosen);
    this.chain = settings.hooks;
    this.chunkHooks = settings.chunkHooks;
  }

  /** @internal Whether there is room for a chunk of the source. */
  get ready(): boolean {
    return !this.body.blocked && this.gate === undefined;
  }

  /** @internal Takes a chunk. A promise when the next one has to wait for it. */
  emit(chunk: unknown): void | PromiseLike<unknown> {
    return this.gate === undefined ? this.take(chunk) : this.gate.then(() => this.take(chunk));
  }

  /** @internal Runs in the context of the request. */
  within<R>(run: () => R): R {
    return this.context.runInAsyncScope(run);
  }

  /** @internal Resolves when exception filters can no longer answer; rejects with what they should. Nothing: it is so already. */
  opened(): Promise<void> | undefined {
    if (this.refusal) {
      return Promise.reject(this.refusal.error);
    }
    if (this.current !== 'new') {
      return undefined;
    }
    return new Promise((resolve, reject) => {
      this.opening = { resolve, reject };
    });
  }

  /** @internal */
  abstract fail(error: unknown): void;

  /** Goes on with the source. */
  protected abstract resume(): void;

  /** As the hooks see it. */
  protected get self(): StreamConnection {
    return this as unknown as StreamConnection;
  }

  /** As {@link emit}, but also while an `onOpen` hook runs: what that sends comes first. */
  protected take(chunk: unknown): void | PromiseLike<unknown> {
    if (isFlushMark(chunk)) {
      return this.body.flush();
    }
    if (this.chunkHooks.length === 0) {
      return this.write(chunk);
    }
    if (this.current === 'new') {
      this.body.chooseFor(chunk);
      this.commit();
      return this.gate ? this.gate.then(() => this.hook(chunk)) : this.hook(chunk);
    }
    return this.hook(chunk);
  }

  /** Fixes the head and runs `onOpen`. */
  protected commit(): void {
    const { head, transport } = this.parts;
    const { body } = this;
    const { contentType } = body;
    const headers = head.commit(contentType, STREAM_HEADERS);
    this.current = transition(this.current, 'open');
    this.body.open();
    this.settleOpening();
    if (isThenable(headers)) {
      // Nothing may be written before the head.
      body.blocked = true;
      headers.then(
        (late) => this.beginBody(late),
        (error: unknown) => this.fail(error),
      );
    } else {
      transport.begin(headers);
    }
    const wait = this.runHooks('onOpen', (hooks) => hooks.onOpen?.(this.self));
    if (wait) {
      this.hold(wait);
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
    } else if (this.opening) {
      this.opening.reject(refusal.error);
    } else {
      this.refusal = refusal;
    }
    this.opening = undefined;
  }

  /** @internal */
  abstract onDrain(): void;

  private beginBody(headers: OutgoingHeaders): void {
    this.parts.transport.begin(headers);
    this.onDrain();
    if (!isOver(this.current)) {
      this.flushHead();
    }
  }

  private hook(chunk: unknown): void | PromiseLike<unknown> {
    if (isOver(this.current)) {
      return undefined;
    }
    return this.within(() => throughChunkHooks(this.chunkHooks, chunk, this.self, (next) => this.write(next)));
  }

  private write(chunk: unknown): void | PromiseLike<unknown> {
    // Encoded before the head is fixed, so that an error can still have its status.
    const encoded = this.body.encode(chunk);
    if (this.current === 'new') {
      return this.writeFirst(encoded);
    }
    this.body.put(encoded);
  }

  private writeFirst(encoded: string | Uint8Array): void | PromiseLike<unknown> {
    this.commit();
    const put = (): void => {
      if (isOver(this.current)) {
        return;
      }
      this.body.put(encoded);
      if (encoded.length === 0) {
        this.flushHead();
      }
    };
    return this.gate ? this.gate.then(put) : put();
  }

  /** Sends the head by itself, when no chunk carries it. */
  private flushHead(): void {
    if (!this.body.blocked && this.body.empty) {
      this.parts.transport.flushHead();
    }
  }

  private hold(wait: PromiseLike<void>): void {
    const release = (): void => {
      this.gate = undefined;
    };
    this.gate = wait.then(release, (error: unknown) => {
      release();
      this.fail(error);
    });
    void this.gate.then(() => this.resume());
  }
}
