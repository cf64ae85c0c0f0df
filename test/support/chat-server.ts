import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Recorder } from './events.js';

export interface ChatRequest {
  readonly path: string | undefined;
  readonly authorization: string | undefined;
  readonly body: { readonly model: string; readonly stream: boolean; readonly messages: readonly unknown[] };
  readonly response: ServerResponse;
}

/** Replaces an OpenAI-compatible server: the test writes the answers. */
export class ChatServer {
  readonly requests = new Recorder<ChatRequest>();
  readonly disconnects = new Recorder<string>();
  private readonly server = createServer((request, response) => void this.take(request, response));

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this.url;
  }

  /** For `OPENAI_BASE_URL`. */
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** An event in the format of these servers. */
  static token(content: string): string {
    return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('close', () => {
      if (!response.writableFinished) {
        this.disconnects.add(request.url ?? '');
      }
    });
    const body = JSON.parse(await text(request)) as ChatRequest['body'];
    this.requests.add({ path: request.url, authorization: request.headers.authorization, body, response });
  }
}
