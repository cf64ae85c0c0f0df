import { once } from 'node:events';
import { type ClientOptions, WebSocket } from 'ws';
import { Recorder } from './events.js';

/** How a WebSocket ended. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** What answered instead of an acceptance. */
export interface Refusal {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

/** A client of `ws` that keeps all it receives. */
export class WebSocketClient {
  /** Text as strings, bytes as Buffers. */
  readonly messages = new Recorder<string | Buffer>();
  readonly closed: Promise<Closed>;
  /** The head of the answer. */
  headers: Record<string, string | string[] | undefined> = {};

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, binary) => this.messages.add(binary ? data : data.toString()));
    socket.on('upgrade', ({ headers }) => {
      this.headers = headers;
    });
    // It shows as the close that follows.
    socket.on('error', () => undefined);
    this.closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: String(reason) }));
  }

  /** Resolves when it is open; rejects when it is refused. */
  static async open(url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<WebSocketClient> {
    const client = new WebSocketClient(new WebSocket(url.replace(/^http/, 'ws'), protocols, options));
    await once(client.socket, 'open');
    return client;
  }

  /** How an upgrade is refused. */
  static refusal(url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<Refusal> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, options);
      socket.on('open', () => reject(new Error('The upgrade was accepted')));
      socket.on('error', reject);
      socket.on('unexpected-response', (_request, response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          body += part;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      });
    });
  }

  /** Messages that are JSON, once so many are here. */
  async json(count: number): Promise<unknown[]> {
    return (await this.messages.count(count)).map((each) => JSON.parse(String(each)));
  }

  /** All messages, once it is closed. */
  async all(): Promise<(string | Buffer)[]> {
    await this.closed;
    return this.messages.seen;
  }
}
