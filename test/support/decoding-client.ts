import { type IncomingMessage, request } from 'node:http';
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';

/** Node.js ≥ 22.15 has it; the types are those of Node.js 20. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

/** The codings this Node.js can read and write. */
export const CODINGS: readonly string[] = createZstdDecompress ? ['zstd', 'br', 'gzip'] : ['br', 'gzip'];

function decoderOf(coding: string | undefined): Transform | undefined {
  switch (coding) {
    case undefined:
      return undefined;
    case 'gzip':
      return zlib.createGunzip();
    case 'br':
      return zlib.createBrotliDecompress();
    case 'zstd':
      if (createZstdDecompress) {
        return createZstdDecompress();
      }
  }
  throw new Error(`The body is encoded with ${coding}`);
}

/** A client that decodes the body while it comes. */
export class DecodingClient {
  /** What could be read so far. */
  text = '';
  /** What broke the body off. */
  error: Error | undefined;
  ended = false;
  readonly bytes: Buffer[] = [];
  private readonly waiting = new Set<() => void>();

  private constructor(readonly response: IncomingMessage) {
    const decoder = decoderOf(this.coding);
    const source = decoder ?? response;
    source.on('data', (data: Buffer) => {
      this.text += data.toString();
      this.wake();
    });
    source.on('end', () => {
      this.ended = true;
      this.wake();
    });
    for (const each of [response, source]) {
      each.on('error', (error: Error) => {
        this.error ??= error;
        this.wake();
      });
    }
    response.on('data', (data: Buffer) => {
      this.bytes.push(data);
      decoder?.write(data);
    });
    response.on('end', () => decoder?.end());
  }

  static get(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<DecodingClient> {
    return new Promise((resolve, reject) => {
      request(url, { agent: false, headers, method }, (response) => resolve(new DecodingClient(response)))
        .on('error', reject)
        .end();
    });
  }

  get coding(): string | undefined {
    return this.response.headers['content-encoding'];
  }

  header(name: string): string | undefined {
    return this.response.headers[name]?.toString();
  }

  /** Waits until the text has this. */
  async until(match: string): Promise<string> {
    await this.when(() => this.text.includes(match));
    return this.text;
  }

  /** Waits for the end, whichever. Resolves to all that could be read. */
  async over(): Promise<string> {
    while (!this.ended && !this.error) {
      await this.news();
    }
    return this.text;
  }

  leave(): void {
    this.response.destroy();
  }

  private async when(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.ended || this.error) {
        throw new Error(`The body is over (${this.error?.message ?? 'whole'}). It was ${JSON.stringify(this.text)}`);
      }
      await this.news();
    }
  }

  private news(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.waiting.delete(wake);
        resolve();
      };
      this.waiting.add(wake);
    });
  }

  private wake(): void {
    for (const wake of [...this.waiting]) {
      wake();
    }
  }
}
