import type { Transport, TransportListener, WireProtocol } from '../transport/transport.js';
import { closeErrorOf, type StreamCloseReason } from '../util/close-reason.js';
import type { StreamCloseError } from '../util/errors.js';
import { NO_LABELS, type StreamLabels } from '../util/labels.js';
import type { AccessLimits } from './access-check.js';
import { type AuthorizedStream, expire, limitAccess, onLabelled } from './authorization.js';
import { Body } from './body/body.js';
import { messagesOf, passToken } from './client-messages.js';
import { Closing, type ClosingStream } from './closing.js';
import { warnOfDropped } from './dropped-headers.js';
import { Feed } from './feed.js';
import { HandlerCall } from './handler-call.js';
import { Lifecycle, type StreamOperation, type StreamState } from './lifecycle.js';
import { LongPoll, type PolledStream } from './long-poll.js';
import type { OpenStream } from './open-stream.js';
import { Opening, type OpeningStream } from './opening.js';
import type { Reader } from './reader/reader.js';
import { StreamScope } from './scope.js';
import { StreamConnection, type StreamHooks } from './stream-connection.js';
import type { Admission, StreamParts, StreamSettings } from './stream-settings.js';
import { visit } from './tick.js';

/** The stream to one client, composed of its parts. See {@link StreamConnection} for the public members. */
export class LiveConnection
  extends StreamConnection
  implements OpenStream, TransportListener, OpeningStream, ClosingStream, PolledStream, AuthorizedStream
{
  readonly request: unknown;
  readonly lastEventId: string | undefined;
  readonly transport: Transport;
  readonly settings: StreamSettings;
  readonly lifecycle = new Lifecycle();
  readonly scope: StreamScope;
  readonly body: Body;
  readonly feed: Feed;
  /** `undefined` once the head is fixed and `onOpen` has returned. */
  opening: Opening | undefined;
  /** `undefined` until the end begins. */
  private closing: Closing | undefined;
  private controller: AbortController | undefined;
  place = 0;
  private readonly number: number;

  /** @param wait how many seconds the client is willing to wait for one complete response (long poll), or `undefined` */
  constructor(parts: StreamParts, wait?: number) {
    super();
    const { transport, settings } = parts;
    this.number = parts.id;
    this.request = parts.request;
    this.lastEventId = parts.lastEventId;
    this.transport = transport;
    this.settings = settings;
    this.scope = new StreamScope(this, settings.hooks);
    this.body = new Body(this, parts.chosen);
    this.feed = new Feed(this);
    this.opening = new Opening(parts, this);
    if (wait !== undefined) {
      this.opening.poll = new LongPoll(this, wait, settings.maxDuration);
    }
    transport.listen(this);
    if (transport.closed) {
      // The client disconnected before the listener was added, for example while a guard ran.
      this.ends.over({ code: 'client-closed' });
    }
  }

  get id(): string {
    return this.number.toString(36);
  }

  get route(): string {
    return this.settings.route;
  }

  get state(): StreamState {
    return this.lifecycle.state;
  }

  get format(): string | undefined {
    return this.body.format?.name;
  }

  get protocol(): WireProtocol {
    return this.transport.protocol;
  }

  get labels(): StreamLabels {
    return this.scope.call?.labels ?? NO_LABELS;
  }

  get bufferedAmount(): number {
    return this.transport.bufferedAmount + this.body.size;
  }

  get messages(): AsyncIterable<string | Uint8Array> {
    return messagesOf(this);
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.lifecycle.halted) {
        this.controller.abort(this.closeError());
      }
    }
    return this.controller.signal;
  }

  status(code: number): this {
    this.demand('status');
    this.opening?.head.status(code);
    return this;
  }

  header(name: string, value: string | readonly string[]): this {
    this.demand('header');
    this.opening?.head.header(name, value);
    return this;
  }

  open(): this {
    this.demand('open');
    this.scope.attempt(() => this.opening?.openEmpty());
    return this;
  }

  send(chunk: unknown): Promise<void> {
    return this.feed.send(chunk);
  }

  flush(): this {
    if (this.lifecycle.allows('flush')) {
      this.body.flush();
    }
    return this;
  }

  close(): Promise<void> {
    return this.end({ code: 'completed' });
  }

  label(labels: StreamLabels): this {
    if (this.scope.call?.label(labels, this.lifecycle.allows('label'), this.route)) {
      onLabelled(this);
    }
    return this;
  }

  expire(at: number | Date | undefined): this {
    expire(this, at);
    return this;
  }

  hooks(hooks: StreamHooks): this {
    this.demand('hooks');
    this.scope.hooks = this.scope.hooks.with(hooks);
    this.feed.reader?.refresh?.();
    return this;
  }

  /** Resolves once the head is fixed, after which exception filters can no longer respond. Rejects with the error for them. Returns `undefined` if it already is. */
  opened(): Promise<void> | undefined {
    return this.opening?.opened();
  }

  /** Starts to queue messages of the client, since the handler may read them. */
  expectMessages(): void {
    this.transport.expect?.();
  }

  /** Called before the handler is called. `admission` is left when the stream has ended. `access` limits the access of the client. */
  begin(admission?: Admission, labels?: StreamLabels, access?: AccessLimits): void {
    const { registry } = this.settings.services;
    this.lifecycle.call();
    this.scope.call = new HandlerCall(registry.clock.read(), admission, labels);
    registry.add(this);
    this.body.progress();
    this.opening?.begin();
    limitAccess(this, access);
  }

  /** Called when the handler has returned a value that interceptors pass on chunk by chunk. */
  expectChunks(): void {
    this.opening?.decide();
    this.opening?.poll?.continueAsStream();
  }

  /** Reads the result of the handler. If it is `undefined` or `null`, the handler sends chunks itself. */
  attach(value: unknown): void {
    const { opening } = this;
    opening?.decide();
    this.feed.attach(value);
    opening?.poll?.continueAsStream();
  }

  get beganAt(): number {
    return this.scope.call?.beganAt ?? 0;
  }

  get openedAt(): number | undefined {
    return this.scope.call?.openedAt;
  }

  get reader(): Reader | undefined {
    return this.feed.reader;
  }

  get trace(): string | undefined {
    return this.scope.call?.trace;
  }

  get endless(): boolean {
    return this.opening?.poll?.waiting ?? this.feed.reader?.endless === true;
  }

  tick(now: number, clock: number, gap: number, share: number): number {
    return visit(this, now, clock - this.beganAt, gap, share);
  }

  announceShutdown(retry: number | undefined): void {
    this.feed.announceShutdown(retry);
  }

  /** Ends the stream cleanly. Resolves once it has ended. */
  end(reason: StreamCloseReason): Promise<void> {
    this.ends.request(reason);
    return this.ends.done();
  }

  cut(reason: StreamCloseReason): void {
    this.ends.cut(reason);
  }

  fail(error: unknown): void {
    if (this.lifecycle.ended) {
      this.scope.late(error);
    } else {
      this.ends.fail(error);
    }
  }

  onDrain(): void {
    this.scope.attempt(() => this.feed.onDrain());
  }

  onDropped(names: readonly string[]): void {
    warnOfDropped(names, this.settings, this.format);
  }

  onMessage(message: Buffer): boolean {
    return passToken(this, message);
  }

  onFinish(): void {
    this.ends.over(this.lifecycle.reason ?? { code: 'completed' });
  }

  onClose(error?: Error): void {
    this.ends.over({ code: 'client-closed', ...(error && { error }) });
  }

  complete(): void {
    this.ends.request({ code: 'completed' });
  }

  conclude(reason: StreamCloseReason): void {
    if (this.lifecycle.allows('close')) {
      this.body.progress();
      this.scope.attempt(() => this.ends.begin(reason));
    }
  }

  headFixed(): void {
    this.scope.call?.onHead(this.settings.services.registry.opened(this));
  }

  dropOpening(): void {
    if (this.opening?.done) {
      this.opening = undefined;
    }
  }

  halt(): void {
    if (this.controller && !this.controller.signal.aborted) {
      this.scope.within(() => this.controller?.abort(this.closeError()));
    }
    this.feed.stop();
  }

  release(reason: StreamCloseReason): void {
    this.settings.services.registry.delete(this, reason);
    this.scope.call?.admission?.leave(this.transport.carrier);
    this.body.release(() => this.closeError());
    this.opening?.settle();
    if (!this.opening?.refused) {
      this.opening = undefined;
    }
  }

  closeError(): StreamCloseError {
    return closeErrorOf(this.scope.name, this.lifecycle.reason);
  }

  /** The object that ends the stream, created when it is first used. */
  get ends(): Closing {
    this.closing ??= new Closing(this);
    return this.closing;
  }

  private demand(operation: StreamOperation): void {
    if (!this.lifecycle.allows(operation)) {
      throw this.lifecycle.refusal(operation);
    }
  }
}
