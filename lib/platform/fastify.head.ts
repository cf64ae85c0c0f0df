import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResponseHead } from '../connection/stream-settings.js';
import { StreamError } from '../errors.js';
import { withVary } from './vary.js';

/** What is used of Fastify's reply. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse<IncomingMessage>;
  readonly server: object;
  readonly request: { readonly raw: IncomingMessage; readonly ip?: string };
  code(status: number): unknown;
  header(name: string, value: unknown): unknown;
  getHeader(name: string): number | string | readonly string[] | undefined;
  getHeaders(): Record<string, number | string | readonly string[] | undefined>;
  hasHeader(name: string): boolean;
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

/** What is given to `reply.send()`, so that the `onSend` hooks of the application (cookies, sessions, …) run before the head is ours. */
class TakenBody {
  failure: { readonly error: unknown } | undefined;
  private done = false;
  private waiting: { resolve(): void; reject(error: unknown): void } | undefined;

  /** Fastify takes an object with `pipe` for a stream, and leaves it and its content type alone. */
  pipe(): never {
    throw new StreamError(
      'invalid-state',
      'An onSend hook replaced the body of a stream: let it pass those it does not know',
    );
  }

  take(reply: FastifyReplyLike): void {
    try {
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) {
          reply.raw.setHeader(name, value);
        }
      }
      reply.hijack();
      this.done = true;
      this.waiting?.resolve();
    } catch (error) {
      this.failure = { error };
      this.waiting?.reject(error);
    }
  }

  taken(): void | Promise<void> {
    if (this.failure) {
      throw this.failure.error;
    }
    return this.done
      ? undefined
      : new Promise((resolve, reject) => {
          this.waiting = { resolve, reject };
        });
  }
}

/** Has an application hand its streams over. Called once, before its routes are registered. */
export function interceptSend(instance: FastifyLike): void {
  instance.addHook('onSend', (_request, reply, payload, done) => {
    if (payload instanceof TakenBody) {
      payload.take(reply);
    } else {
      done(null, payload);
    }
  });
}

/** On Fastify the head is the reply's until its `onSend` hooks have run, and then Node's. */
export class FastifyHead implements ResponseHead {
  constructor(private readonly reply: FastifyReplyLike) {}

  status(code: number): void {
    this.reply.code(code);
  }

  header(name: string, value: string | readonly string[]): void {
    this.reply.header(name, value);
  }

  vary(name: string): void {
    this.reply.header('Vary', withVary(this.reply.getHeader('vary'), name));
  }

  commit(defaults: Readonly<Record<string, string>>): void | Promise<void> {
    for (const name in defaults) {
      if (!this.reply.hasHeader(name)) {
        this.reply.header(name, defaults[name]);
      }
    }
    const body = new TakenBody();
    this.reply.send(body);
    return body.taken();
  }

  abandon(): void {
    this.reply.hijack();
  }
}
