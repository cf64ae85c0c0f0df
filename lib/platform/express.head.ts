import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResponseHead } from '../connection/stream-settings.js';
import { withVary } from './vary.js';

export interface ExpressResponse extends ServerResponse<IncomingMessage> {
  readonly app: object;
  readonly req: IncomingMessage & { readonly ip?: string };
}

/** On Express the response is Node's own. */
export class ExpressHead implements ResponseHead {
  constructor(private readonly response: ExpressResponse) {}

  status(code: number): void {
    this.response.statusCode = code;
  }

  header(name: string, value: string | readonly string[]): void {
    this.response.setHeader(name, value);
  }

  vary(name: string): void {
    this.response.setHeader('Vary', withVary(this.response.getHeader('Vary'), name));
  }

  commit(defaults: Readonly<Record<string, string>>): void {
    for (const name in defaults) {
      if (!this.response.hasHeader(name)) {
        this.response.setHeader(name, defaults[name] as string);
      }
    }
  }

  abandon(): void {
    return;
  }
}
