import { type IncomingMessage, type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http';
import { CONTENT_LENGTH } from '../transport/framing-headers.js';
import type { BodyType, CommittedHead, ResponseHead } from '../transport/response-head.js';
import { onceSocketCloses } from '../transport/socket-close.js';
import type { OutgoingHeaders } from '../transport/transport.js';
import { StreamError } from '../util/errors.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { checkLength, FRAMING, framed, isReleased, releaseFraming } from './framing.js';
import { CONTENT_TYPE, typeInstead, withVary } from './headers.js';

/** The part of Fastify's reply that is used. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse<IncomingMessage>;
  readonly server: object;
  readonly request: { readonly raw: IncomingMessage; readonly ip?: string };
  code(status: number): unknown;
  header(name: string, value: unknown): unknown;
  getHeader(name: string): number | string | readonly string[] | undefined;
  getHeaders(): Record<string, number | string | readonly string[] | undefined>;
  hasHeader(name: string): boolean;
  removeHeader(name: string): unknown;
  hijack(): unknown;
  send(payload: unknown): unknown;
}

interface FastifyLike {
  addHook(
    name: 'onSend',
    hook: (
      request: unknown,
      reply: FastifyReplyLike,
      payload: unknown,
      done: (error: null, payload: unknown) => void,
    ) => void,
  ): unknown;
}

/** The argument of `reply.send()`: with it, the `onSend` hooks of the application (cookies, sessions, …) run before the head is taken over. */
class TakenBody {
  failure: { readonly error: unknown } | undefined;
  private replacesType = false;
  private head: CommittedHead | undefined;
  private waiting: Deferred<CommittedHead> | undefined;

  /** Fastify takes an object with `pipe` for a stream, and leaves it and its content type alone. */
  pipe(): never {
    throw new StreamError(
      'invalid-state',
      'An onSend hook replaced the body of a stream: return payloads that the hook does not know unchanged',
    );
  }

  constructor(
    private readonly contentType: BodyType | undefined,
    private readonly defaults: Readonly<Record<string, string>>,
  ) {}

  /** Sets the content type of the body, unless another one may stay. */
  setType(reply: FastifyReplyLike): void {
    const own = reply.getHeader(CONTENT_TYPE);
    const type = typeInstead(own, this.contentType);
    if (type !== undefined) {
      reply.header(CONTENT_TYPE, type);
      this.replacesType ||= own !== undefined;
    }
  }

  take(reply: FastifyReplyLike): void {
    try {
      // Again: a hook may have set another one.
      this.setType(reply);
      const framing = framed(reply.raw, headersOf(reply, this.defaults));
      const head = this.replacesType ? { ...framing, dropped: [...framing.dropped, CONTENT_TYPE] } : framing;
      reply.hijack();
      this.head = head;
      this.waiting?.resolve(head);
    } catch (error) {
      this.failure = { error };
      this.waiting?.reject(error);
    }
  }

  taken(): CommittedHead | Promise<CommittedHead> {
    if (this.failure) {
      throw this.failure.error;
    }
    if (this.head) {
      return this.head;
    }
    this.waiting = deferred();
    return this.waiting.promise;
  }
}

/**
 * The headers of a reply, and the defaults it does not have. Refuses what Node.js would refuse to write, while an exception
 * filter can still answer.
 */
function headersOf(reply: FastifyReplyLike, defaults: Readonly<Record<string, string>>): OutgoingHeaders {
  const own = reply.getHeaders();
  const headers: OutgoingHeaders = [];
  for (const name in own) {
    const value = own[name];
    if (value !== undefined) {
      validateHeaderName(name);
      validateHeaderValue(name, value as string);
      headers.push(name, value);
    }
  }
  for (const name in defaults) {
    if (own[name] === undefined) {
      headers.push(name, defaults[name] as string);
    }
  }
  return headers;
}

/** Takes over the replies of streams. Called once, before the routes are registered. */
export function interceptSend(instance: FastifyLike): void {
  instance.addHook('onSend', (_request, reply, payload, done) => {
    if (payload instanceof TakenBody) {
      payload.take(reply);
    } else {
      done(null, payload);
    }
  });
}

/** Fastify's listener, which runs its `onResponse` hooks and writes its log: it is the same for both events, and takes itself away. */
function complete(this: ServerResponse): void {
  const onError = this.listeners('error');
  for (const listener of this.listeners('finish').filter((each) => onError.includes(each))) {
    Reflect.apply(listener, this, []);
  }
}

/**
 * Has Fastify count a response as completed when its connection closes. By itself it waits for the events `finish` and `error`, and a
 * response over HTTP/1 that is cut off, or whose client leaves, has neither of them.
 */
function completeWhenClosed(raw: ServerResponse<IncomingMessage>): void {
  if (raw.listenerCount('error') === 0) {
    // Fastify has neither hooks nor a log.
    return;
  }
  raw.on('close', complete);
  if (raw.socket === null) {
    // It waits behind another response of its connection: Node.js does not emit `close` while it does.
    const stop = onceSocketCloses(raw.req.socket, () => complete.call(raw));
    raw.on('close', stop);
  }
}

/** On Fastify the head is the reply's until its `onSend` hooks have run, and then Node's. */
export class FastifyHead implements ResponseHead {
  constructor(private readonly reply: FastifyReplyLike) {
    completeWhenClosed(reply.raw);
  }

  status(code: number): void {
    this.reply.code(code);
  }

  header(name: string, value: string | readonly string[]): void {
    // Fastify keeps what Node.js refuses, and would only fail when an exception filter has answered.
    validateHeaderName(name);
    for (const each of typeof value === 'string' ? [value] : value) {
      validateHeaderValue(name, each);
    }
    const before = name.toLowerCase() === 'set-cookie' ? this.reply.raw.getHeader(name) : undefined;
    if (before !== undefined && this.reply.getHeader(name) === before) {
      // Fastify adds to its own cookies, and would replace those that middleware gave Node's response.
      this.reply.header(name, [before].flat());
    }
    this.reply.header(name, value);
  }

  vary(name: string): void {
    this.reply.header('Vary', withVary(this.reply.getHeader('vary'), name));
  }

  commit(
    contentType: BodyType | undefined,
    defaults: Readonly<Record<string, string>>,
  ): CommittedHead | Promise<CommittedHead> {
    // Once the reply has been sent, an exception filter can no longer answer.
    checkLength(this.reply.getHeader(CONTENT_LENGTH));
    const body = new TakenBody(contentType, defaults);
    body.setType(this.reply);
    this.reply.send(body);
    return body.taken();
  }

  release(): void {
    for (const name of FRAMING) {
      if (isReleased(name, this.reply.getHeader(name))) {
        this.reply.removeHeader(name);
      }
    }
    releaseFraming(this.reply.raw);
  }

  abandon(): void {
    this.reply.hijack();
    // Its `close` may have been emitted before there was a stream.
    complete.call(this.reply.raw);
  }
}
