import { STATUS_CODES } from 'node:http';
import type { Readable } from 'node:stream';
import { StreamError } from '../util/errors.js';
import { type Step } from '../util/iteration.js';
import { isThenable } from '../util/thenable.js';
import { type PullSource, type SourceHead } from './source.js';

/** The part of a response that the error handler of a `StreamableFile` receives. */
interface FileResponse {
  readonly destroyed: boolean;
  readonly headersSent: boolean;
  statusCode: number;
  send(body: string): void;
  end(): void;
  destroy(): void;
}

/** The used part of Nest's `StreamableFile`, which may come from another copy of `@nestjs/common`. */
export interface FileLike {
  getStream(): Readable;
  getHeaders(): {
    readonly type?: string;
    readonly disposition?: string | readonly string[];
    readonly length?: number;
  };
  readonly errorHandler?: (error: Error, response: FileResponse) => void;
}

/** Reads a `StreamableFile`. As on Nest's own routes, its type, disposition and length are set unless the application has set others. */
export class FileSource implements PullSource {
  readonly kind = 'pull';
  readonly head: SourceHead;

  constructor(
    private readonly file: FileLike,
    private readonly stream: PullSource,
  ) {
    const { type, disposition, length } = file.getHeaders();
    const defaults: Record<string, string> = { 'content-type': type ?? 'application/octet-stream' };
    if (disposition !== undefined) {
      defaults['content-disposition'] = String(disposition);
    }
    if (length !== undefined) {
      defaults['content-length'] = String(length);
    }
    this.head = { headers: [], defaults };
  }

  pull(): Step | PromiseLike<Step> {
    try {
      const step = this.stream.pull();
      return isThenable(step) ? step.then(undefined, this.onError) : step;
    } catch (error) {
      return this.onError(error);
    }
  }

  stop(): unknown {
    return this.stream.stop();
  }

  /** Throws an error with the response of the file's error handler. If the handler sends none, or the file was partly read, throws the error itself. */
  private readonly onError = (error: unknown): never => {
    let answer: string | undefined;
    const response: FileResponse = {
      destroyed: false,
      headersSent: this.file.getStream().readableDidRead,
      statusCode: 200,
      send: (body) => {
        answer = String(body);
      },
      end: () => {
        answer ??= STATUS_CODES[response.statusCode] ?? '';
      },
      destroy: () => undefined,
    };
    this.file.errorHandler?.(error as Error, response);
    if (answer === undefined || response.headersSent || response.statusCode < 400) {
      throw error;
    }
    throw new StreamError('invalid-source', answer, { cause: error, statusCode: response.statusCode });
  };
}
