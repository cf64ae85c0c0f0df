import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A client that is only a socket, for exact bytes and for invalid requests. */
export class RawClient {
  received = '';
  /** The error that broke the connection, such as a reset. */
  error: (Error & { code?: string }) | undefined;
  private readonly waiting = new Set<() => void>();

  private constructor(readonly socket: Socket) {
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => {
      this.received += data;
      this.notifyWaiters();
    });
    socket.on('close', () => this.notifyWaiters());
    // Tests wait for resets too; the close that follows reports them.
    socket.on('error', (error) => {
      this.error = error;
      this.notifyWaiters();
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Connects and sends a request. */
  static async get(
    port: number,
    path: string,
    headers: Record<string, string> = {},
    method = 'GET',
  ): Promise<RawClient> {
    const client = await RawClient.connect(port);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    client.send(`${method} ${path} HTTP/1.1\r\nHost: test\r\n${lines.join('')}\r\n`);
    return client;
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** Waits until the received text matches. Rejects if the connection closes before. */
  async until(match: string | RegExp): Promise<string> {
    const matches = () => (typeof match === 'string' ? this.received.includes(match) : match.test(this.received));
    while (!matches()) {
      if (this.socket.destroyed) {
        throw new Error(
          `The connection closed before ${String(match)} came. Received: ${JSON.stringify(this.received)}`,
        );
      }
      await this.nextChange();
    }
    return this.received;
  }

  /** Waits for the connection to close. */
  async closed(): Promise<string> {
    while (!this.socket.destroyed) {
      await this.nextChange();
    }
    return this.received;
  }

  /** The body so far, without the chunked framing. */
  get body(): string {
    const { rest } = this;
    return /transfer-encoding: chunked/i.test(this.received) ? framesOf(rest).join('') : rest;
  }

  /** The chunks of a chunked body so far, as the server framed them. */
  get frames(): string[] {
    return framesOf(this.rest);
  }

  /** The status and headers, after they have arrived. */
  get head(): string {
    return this.received.slice(0, this.received.indexOf('\r\n\r\n') + 4);
  }

  /** Whether the chunked body is complete. */
  get complete(): boolean {
    return this.received.endsWith('0\r\n\r\n');
  }

  disconnect(): void {
    this.socket.destroy();
  }

  private get rest(): string {
    return this.received.slice(this.received.indexOf('\r\n\r\n') + 4);
  }

  private nextChange(): Promise<void> {
    return new Promise((resolve) => {
      const resume = () => {
        this.waiting.delete(resume);
        resolve();
      };
      this.waiting.add(resume);
    });
  }

  private notifyWaiters(): void {
    for (const resume of this.waiting) {
      resume();
    }
  }
}

function framesOf(text: string): string[] {
  const frames: string[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = text.indexOf('\r\n', at);
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (lineEnd < 0 || !(size > 0)) {
      return frames;
    }
    frames.push(text.slice(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}
