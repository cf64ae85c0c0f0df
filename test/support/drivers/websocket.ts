import type { IncomingMessage } from 'node:http';
import { type ClientOptions, type RawData, WebSocket } from 'ws';
import { StreamClient } from './client.js';

/** A client of WebSocket. */
export class WebSocketClient extends StreamClient {
  readonly socket: WebSocket;
  /** What came with the close code. */
  reason = '';

  constructor(
    port: number,
    path: string,
    headers: Readonly<Record<string, string>>,
    { protocols = [], ...options }: ClientOptions & { readonly protocols?: string[] } = {},
  ) {
    super();
    const settings = { perMessageDeflate: false, headers: { ...headers }, ...options };
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, settings);
    this.socket.on('upgrade', (response) => this.answeredWith(response.statusCode ?? 0, response.headers));
    this.socket.on('unexpected-response', (_request, response) => this.refusedBy(response));
    this.socket.on('message', (data) => this.take(valueIn(data)));
    this.socket.on('ping', () => this.beat());
    // Its close follows, with 1006.
    this.socket.on('error', () => undefined);
    this.socket.on('close', (code, reason) => {
      this.reason = reason.toString();
      this.endedAs(String(code));
    });
  }

  stall(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  leave(): void {
    this.socket.terminate();
  }

  private refusedBy(response: IncomingMessage): void {
    this.answeredWith(response.statusCode ?? 0, response.headers);
    response.setEncoding('utf8').on('data', (text: string) => {
      this.refusal += text;
    });
    response.on('close', () => this.endedAs(response.complete ? 'complete' : 'broken'));
  }
}

/** JSON as its value, and text that is none as it is. */
function valueIn(data: RawData): unknown {
  const text = data.toString();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
