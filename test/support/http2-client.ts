import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2';
import type { Socket } from 'node:net';

/** A public key pair for 127.0.0.1 and localhost: not to be trusted. */
export const TLS = {
  key: readFileSync(new URL('./tls/key.pem', import.meta.url)),
  cert: readFileSync(new URL('./tls/cert.pem', import.meta.url)),
};

/** The response that an HTTP/2 client receives. */
export class Http2Reply {
  received = '';
  headers: IncomingHttpHeaders | undefined;
  /** The error that broke the stream, such as a reset. */
  error: (Error & { code?: string }) | undefined;
  /** Whether the body is complete. */
  complete = false;
  private readonly waiting = new Set<() => void>();

  constructor(readonly stream: ClientHttp2Stream) {
    stream.setEncoding('latin1');
    stream.on('response', (headers) => {
      this.headers = headers;
      this.notifyWaiters();
    });
    stream.on('data', (data: string) => {
      this.received += data;
      this.notifyWaiters();
    });
    stream.on('end', () => {
      this.complete = stream.rstCode === 0;
    });
    stream.on('error', (error) => {
      this.error = error;
    });
    stream.on('close', () => this.notifyWaiters());
  }

  get status(): number {
    return Number(this.headers?.[':status']);
  }

  /** Waits for the head. */
  async head(): Promise<IncomingHttpHeaders> {
    while (!this.headers) {
      await this.nextChange('the head came');
    }
    return this.headers;
  }

  /** Waits until the received text matches. Rejects if the stream closes before. */
  async until(match: string | RegExp): Promise<string> {
    while (typeof match === 'string' ? !this.received.includes(match) : !match.test(this.received)) {
      await this.nextChange(`${String(match)} came`);
    }
    return this.received;
  }

  /** Waits for the stream to close. */
  async closed(): Promise<string> {
    if (!this.stream.closed || !this.stream.destroyed) {
      await new Promise((resolve) => this.stream.once('close', resolve));
    }
    return this.received;
  }

  private async nextChange(what: string): Promise<void> {
    if (this.stream.destroyed) {
      throw new Error(`The stream closed before ${what}. Received: ${JSON.stringify(this.received)}`);
    }
    await new Promise<void>((resolve) => {
      const resume = () => {
        this.waiting.delete(resume);
        resolve();
      };
      this.waiting.add(resume);
    });
  }

  private notifyWaiters(): void {
    for (const resume of [...this.waiting]) {
      resume();
    }
  }
}

/** One session of an HTTP/2 client. */
export class Http2Client {
  constructor(readonly session: ClientHttp2Session) {}

  get(path: string, headers: OutgoingHttpHeaders = {}): Http2Reply {
    return new Http2Reply(this.session.request({ ':path': path, ...headers }));
  }

  /** The body of a GET. */
  text(path: string, headers: OutgoingHttpHeaders = {}): Promise<string> {
    return this.get(path, headers).closed();
  }

  async closed(): Promise<void> {
    if (!this.session.closed || !this.session.destroyed) {
      await new Promise((resolve) => this.session.once('close', resolve));
    }
  }
}

export interface SessionSetup extends SecureClientSessionOptions {
  readonly tls?: boolean;
  /** Opens the connection. */
  readonly createConnection?: () => Socket;
}

/** Opens sessions; those of a test are destroyed after it. */
export function useSessions(): (port: number, setup?: SessionSetup) => Promise<Http2Client> {
  const open: ClientHttp2Session[] = [];

  afterEach(() => {
    for (const session of open.splice(0)) {
      session.destroy();
    }
  });

  return async (port, { tls = false, ...options } = {}) => {
    const session = connect(`${tls ? 'https' : 'http'}://localhost:${port}`, {
      ca: TLS.cert,
      host: '127.0.0.1',
      ...options,
    });
    open.push(session);
    // If a session breaks, the close of its streams reports it.
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    return new Http2Client(session);
  };
}
