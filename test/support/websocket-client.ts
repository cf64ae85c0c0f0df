import { once } from 'node:events';
import { type ClientOptions, WebSocket } from 'ws';
import { Recorder } from './events.js';

/** How a WebSocket ended. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** The response that refused an upgrade. */
export interface Refusal {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

/** A client of `ws` that keeps all messages. */
export class WebSocketClient {
  /** Text as strings, bytes as Buffers. */
  readonly messages = new Recorder<string | Buffer>();
  readonly closed: Promise<Closed>;
  /** The head of the response. */
  headers: Record<string, string | string[] | undefined> = {};

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, binary) => this.messages.add(binary ? data : data.toString()));
    socket.on('upgrade', ({ headers }) => {
      this.headers = headers;
    });
    // The close that follows reports it.
    socket.on('error', () => undefined);
    this.closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: String(reason) }));
  }

  /** Resolves when the WebSocket is open; rejects if the upgrade is refused. */
  static async open(url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<WebSocketClient> {
    const client = new WebSocketClient(new WebSocket(url.replace(/^http/, 'ws'), protocols, options));
    await once(client.socket, 'open');
    return client;
  }

  /** Resolves to the response that refuses an upgrade. */
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

  /** Waits for a number of messages, and resolves to their parsed JSON. */
  async json(count: number): Promise<unknown[]> {
    return (await this.messages.count(count)).map((each) => JSON.parse(String(each)));
  }

  /** Waits for the close, and resolves to all messages. */
  async all(): Promise<(string | Buffer)[]> {
    await this.closed;
    return this.messages.seen;
  }
}
