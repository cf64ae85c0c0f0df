import type { IncomingMessage } from 'node:http';
import { type ClientOptions, WebSocket } from 'ws';
import { isOfTheStream, StreamClient, valueIn } from './client.js';

/** The subprotocol in which events have an id and a type. */
export const EVENTS = 'events.v1+json';

/** A client of WebSocket. */
export class WebSocketClient extends StreamClient {
  readonly socket: WebSocket;
  /** The reason next to the close code. */
  reason = '';

  constructor(
    port: number,
    path: string,
    headers: Readonly<Record<string, string>>,
    { protocols = [], ...options }: ClientOptions & { readonly protocols?: string[] } = {},
  ) {
    super();
    const { 'last-event-id': id, ...others } = headers;
    const settings = { perMessageDeflate: false, headers: others, ...options };
    // Browsers cannot set headers.
    const query = id === undefined ? '' : `${path.includes('?') ? '&' : '?'}lastEventId=${encodeURIComponent(id)}`;
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${path}${query}`, protocols, settings);
    this.socket.on('upgrade', (response) => this.answeredWith(response.statusCode ?? 0, response.headers));
    this.socket.on('unexpected-response', (_request, response) => this.readRefusal(response));
    this.socket.on('message', (data: Buffer) => this.receive(valueIn(data.toString())));
    this.socket.on('ping', () => this.addHeartbeat());
    // Its close follows, with the code 1006.
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

  private receive(value: unknown): void {
    if (this.socket.protocol !== EVENTS) {
      this.take(value);
    } else if (typeof value === 'object' && value !== null && 'data' in value && !isOfTheStream(typeOf(value))) {
      this.take(value.data);
    }
  }

  private readRefusal(response: IncomingMessage): void {
    this.answeredWith(response.statusCode ?? 0, response.headers);
    response.setEncoding('utf8').on('data', (text: string) => {
      this.refusal += text;
    });
    response.on('close', () => this.endedAs(response.complete ? 'complete' : 'broken'));
  }
}

function typeOf(event: object): unknown {
  return 'type' in event ? event.type : undefined;
}
