import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BodyType, CommittedHead, ResponseHead } from '../transport/response-head.js';
import { framed, releaseFraming } from './framing.js';
import { CONTENT_TYPE, typeInstead, withVary } from './headers.js';

export interface ExpressResponse extends ServerResponse<IncomingMessage> {
  readonly app: object;
  status(code: number): unknown;
  readonly req: IncomingMessage & { readonly ip?: string; next?: unknown };
}

/** The head of a response on Express, where the response is a `ServerResponse` of Node.js. */
export class ExpressHead implements ResponseHead {
  constructor(private readonly response: ExpressResponse) {}

  status(code: number): void {
    // Express throws for an invalid status now. Node.js would only throw when the head is written.
    this.response.status(code);
  }

  header(name: string, value: string | readonly string[]): void {
    if (name.toLowerCase() === 'set-cookie') {
      this.response.appendHeader(name, value as string | string[]);
    } else {
      this.response.setHeader(name, value);
    }
  }

  vary(name: string): void {
    this.response.setHeader('Vary', withVary(this.response.getHeader('Vary'), name));
  }

  commit(contentType: BodyType | undefined, defaults: Readonly<Record<string, string>>): CommittedHead {
    const own = this.response.getHeader(CONTENT_TYPE);
    const type = typeInstead(own, contentType);
    if (type !== undefined) {
      this.response.setHeader(CONTENT_TYPE, type);
    }
    for (const name in defaults) {
      if (!this.response.hasHeader(name)) {
        this.response.setHeader(name, defaults[name] as string);
      }
    }
    const head = framed(this.response, []);
    const dropped = type !== undefined && own !== undefined ? [...head.dropped, CONTENT_TYPE] : head.dropped;
    // No handler follows, and the closures of the router would take 700 bytes as long as the stream is open.
    this.response.req.next = undefined;
    return { ...head, dropped };
  }

  release(): void {
    releaseFraming(this.response);
  }

  abandon(): void {
    return;
  }
}
