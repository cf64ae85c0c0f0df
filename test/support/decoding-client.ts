import { type IncomingMessage, request } from 'node:http';
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';

/** Exists since Node.js 22.15; the types are those of Node.js 20. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

/** The codings that this version of Node.js supports. */
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

/** A client that decodes the body while it arrives. */
export class DecodingClient {
  /** The text that could be decoded so far. */
  text = '';
  /** The error that cut the body off. */
  error: Error | undefined;
  ended = false;
  readonly bytes: Buffer[] = [];
  private readonly waiting = new Set<() => void>();

  private constructor(readonly response: IncomingMessage) {
    const decoder = decoderOf(this.coding);
    const source = decoder ?? response;
    source.on('data', (data: Buffer) => {
      this.text += data.toString();
      this.notifyWaiters();
    });
    source.on('end', () => {
      this.ended = true;
      this.notifyWaiters();
    });
    for (const each of [response, source]) {
      each.on('error', (error: Error) => {
        this.error ??= error;
        this.notifyWaiters();
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

  /** Waits until the decoded text contains a string. */
  async until(match: string): Promise<string> {
    await this.when(() => this.text.includes(match));
    return this.text;
  }

  /** Waits for the end, clean or not. Resolves to the text that could be decoded. */
  async over(): Promise<string> {
    while (!this.ended && !this.error) {
      await this.nextChange();
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
      await this.nextChange();
    }
  }

  private nextChange(): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
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
