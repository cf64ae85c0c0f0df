import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CommittedHead, ResponseHead } from '../connection/stream-settings.js';
import { framed, releaseFraming } from './framing.js';
import { withVary } from './vary.js';

export interface ExpressResponse extends ServerResponse<IncomingMessage> {
  readonly app: object;
  status(code: number): unknown;
  readonly req: IncomingMessage & { readonly ip?: string; next?: unknown };
}

/** On Express the response is Node's own. */
export class ExpressHead implements ResponseHead {
  constructor(private readonly response: ExpressResponse) {}

  status(code: number): void {
    // Express refuses what is no status; Node.js would only once the head is written.
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

  commit(contentType: string | undefined, defaults: Readonly<Record<string, string>>): CommittedHead {
    if (contentType !== undefined && !this.response.hasHeader('content-type')) {
      this.response.setHeader('content-type', contentType);
    }
    for (const name in defaults) {
      if (!this.response.hasHeader(name)) {
        this.response.setHeader(name, defaults[name] as string);
      }
    }
    const head = framed(this.response, []);
    // Nothing comes after us, and the router's closures would live as long as the stream: 700 bytes.
    this.response.req.next = undefined;
    return head;
  }

  release(): void {
    releaseFraming(this.response);
  }

  abandon(): void {
    return;
  }
}
