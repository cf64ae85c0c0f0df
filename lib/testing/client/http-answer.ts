import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Answer, AnswerListener } from './answer.js';
import { readerFor } from './body/body-reader.js';
import type { EventFields } from './body/streamed-event.js';

const TLS = {
  // A test's certificate need not be anybody's but the test's.
  rejectUnauthorized: false,
  // Else a server for HTTP/2 only would answer for itself, with a 403.
  ALPNProtocols: ['http/1.1'],
};

/** Sends a request over a connection of its own. Resolves when the head of the answer is there. */
export async function requestOverHttp(request: Request, json: boolean, signal: AbortSignal): Promise<Answer> {
  const body = Buffer.from(await request.arrayBuffer());
  return new Promise((resolve, reject) => {
    const outgoing = send(request);
    const leave = (): void => {
      outgoing.destroy(signal.reason);
    };
    // Once there is an answer, what breaks the connection shows there.
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
        new Error(`the body is compressed (${encoding}), which is not read: ask for none of it`),
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
    // What breaks it off shows as the close that follows. After a good end that comes too, and says nothing new.
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
