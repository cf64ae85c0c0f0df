import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { readerFor } from './body/body-reader.js';
import type { EventFields } from './body/streamed-event.js';

/** Receives the events of a response. */
interface AnswerListener {
  onEvents(events: readonly EventFields[]): void;
  /** Called at the end of the body, perhaps more than once. `failure` is the reason if the rest of the body cannot be read. */
  onEnd(how: 'complete' | 'truncated', failure?: Error): void;
}

/** The response to a request. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Starts to read the body. */
  listen(listener: AnswerListener): void;
  /** Stops reading from the socket. */
  pause(): void;
  /** Starts to read from the socket again. */
  resume(): void;
  /** Destroys the connection. */
  destroy(): void;
}

const TLS = {
  // Tests use self-signed certificates.
  rejectUnauthorized: false,
  // Without this, a server that only supports HTTP/2 would respond with 403.
  ALPNProtocols: ['http/1.1'],
};

/** Sends a request over a new connection. Resolves with the response once its head is received. */
export async function requestOverHttp(request: Request, json: boolean, signal: AbortSignal): Promise<Answer> {
  const body = Buffer.from(await request.arrayBuffer());
  return new Promise((resolve, reject) => {
    const outgoing = send(request);
    const leave = (): void => {
      outgoing.destroy(signal.reason);
    };
    // After the response has begun, errors of the connection are reported by the response.
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      signal.removeEventListener('abort', leave);
      resolve(new HttpAnswer(incoming, json));
    });
    signal.addEventListener('abort', leave);
    outgoing.end(body.length === 0 ? undefined : body);
    if (signal.aborted) {
      leave();
    }
  });
}

function send({ url, method, headers }: Request): ClientRequest {
  const options = { method, headers: Object.fromEntries(headers), agent: false };
  return url.startsWith('https:') ? requestHttps(url, { ...options, ...TLS }) : requestHttp(url, options);
}

class HttpAnswer implements Answer {
  readonly status: number;
  readonly headers = new Headers();

  constructor(
    private readonly incoming: IncomingMessage,
    private readonly json: boolean,
  ) {
    this.status = incoming.statusCode ?? 0;
    const { rawHeaders } = incoming;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      this.headers.append(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
    }
  }

  listen(listener: AnswerListener): void {
    const { incoming } = this;
    const encoding = this.headers.get('content-encoding') ?? 'identity';
    if (encoding !== 'identity') {
      listener.onEnd(
        'truncated',
        new Error(`the body is compressed (${encoding}), which streamOf() cannot read: send no "Accept-Encoding"`),
      );
      incoming.destroy();
      return;
    }
    const reader = readerFor(this.headers.get('content-type'), this.json);
    incoming.on('data', (bytes: Buffer) => this.give(listener, () => reader.read(bytes)));
    incoming.on('end', () => {
      if (incoming.complete) {
        this.give(listener, () => reader.end());
        listener.onEnd('complete');
      }
    });
    // The close event that follows reports it. After a complete body, the second call of onEnd() has no effect.
    incoming.on('error', () => undefined);
    incoming.on('close', () => listener.onEnd('truncated'));
  }

  pause(): void {
    this.incoming.pause();
  }

  resume(): void {
    this.incoming.resume();
  }

  destroy(): void {
    this.incoming.destroy();
  }

  private give(listener: AnswerListener, read: () => readonly EventFields[]): void {
    try {
      listener.onEvents(read());
    } catch (error) {
      listener.onEnd('truncated', error as Error);
      this.incoming.destroy();
    }
  }
}
