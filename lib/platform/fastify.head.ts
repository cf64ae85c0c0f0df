import { type IncomingMessage, type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http';
import { CONTENT_LENGTH } from '../transport/framing-headers.js';
import { onceResponseCloses } from '../transport/response-close.js';
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

/** The argument for `reply.send()`, so that the `onSend` hooks of the application (cookies, sessions, …) run before the reply is hijacked. */
class TakenBody {
  failure: { readonly error: unknown } | undefined;
  private replacesType = false;
  private head: CommittedHead | undefined;
  private waiting: Deferred<CommittedHead> | undefined;

  /** Fastify recognizes an object with `pipe` as a stream, and does not change it or its content type. */
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

  /** Sets the content type of the body, unless the one of the application may stay. */
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
      // Set again, as a hook may have changed it.
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
 * Returns the headers of a reply, with the default headers that it does not have. Throws for headers that Node.js could not write, while an
 * exception filter can still respond.
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

/** Adds the `onSend` hook that hijacks the replies of streams. Called once, before the routes are registered. */
export function interceptSend(instance: FastifyLike): void {
  instance.addHook('onSend', (_request, reply, payload, done) => {
    if (payload instanceof TakenBody) {
      payload.take(reply);
    } else {
      done(null, payload);
    }
  });
}

/** Calls the listener of Fastify that runs `onResponse` hooks and writes the log. Fastify adds it for both events, and it removes itself. */
function complete(this: ServerResponse): void {
  if (this.listenerCount('error') === 0) {
    // It has run: most responses finish before their connection closes.
    return;
  }
  const onError = this.listeners('error');
  for (const listener of this.listeners('finish').filter((each) => onError.includes(each))) {
    Reflect.apply(listener, this, []);
  }
}

/**
 * Makes Fastify complete a response when its connection closes. Fastify itself waits for the event `finish` or `error`. A response over
 * HTTP/1 that is cut off, or whose client disconnects, emits neither of them.
 */
function completeWhenClosed(raw: ServerResponse<IncomingMessage>): void {
  if (raw.listenerCount('error') === 0) {
    // Fastify has added no listener, as it has neither hooks nor a log.
    return;
  }
  onceResponseCloses(raw, complete);
  if (raw.socket === null) {
    // The response waits behind another one on its connection. Node.js does not emit `close` on a waiting response.
    const stop = onceSocketCloses(raw.req.socket, () => complete.call(raw));
    onceResponseCloses(raw, stop);
  }
}

/** The head of a response on Fastify. It belongs to the reply until the `onSend` hooks have run, and then to the response of Node.js. */
export class FastifyHead implements ResponseHead {
  constructor(private readonly reply: FastifyReplyLike) {
    completeWhenClosed(reply.raw);
  }

  status(code: number): void {
    this.reply.code(code);
  }

  header(name: string, value: string | readonly string[]): void {
    // Fastify accepts headers that Node.js refuses, and would only fail when the response of an exception filter is written.
    validateHeaderName(name);
    for (const each of typeof value === 'string' ? [value] : value) {
      validateHeaderValue(name, each);
    }
    const before = name.toLowerCase() === 'set-cookie' ? this.reply.raw.getHeader(name) : undefined;
    if (before !== undefined && this.reply.getHeader(name) === before) {
      // Fastify adds to the cookies of the reply, but would replace those that middleware has set on the response of Node.js.
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
    // Checked first: after reply.send(), an exception filter can no longer respond.
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
    // The event `close` may have been emitted before the stream was created.
    complete.call(this.reply.raw);
  }
}
