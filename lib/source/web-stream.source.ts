import { type Step } from '../util/iteration.js';
import { type PullSource } from './source.js';

/** Reads a web `ReadableStream`. */
export class WebStreamSource implements PullSource {
  readonly kind = 'pull';
  private readonly reader: ReadableStreamDefaultReader<unknown>;

  constructor(stream: ReadableStream<unknown>) {
    this.reader = stream.getReader();
  }

  pull(): PromiseLike<Step> {
    return this.reader.read() as PromiseLike<Step>;
  }

  stop(): unknown {
    return this.reader.cancel();
  }
}
