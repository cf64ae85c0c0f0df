import { type PullSource } from '../source/source.js';
import { DONE, type Step } from '../util/iteration.js';

/** Reads a source with the interface of an async generator. Steps that are asked for at the same time follow each other. */
export class SourceIterator implements AsyncIterator<unknown, unknown> {
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly source: PullSource) {}

  next(): Promise<Step> {
    const step = this.last.then(() => this.source.pull());
    this.last = step.catch(() => undefined);
    return step;
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.source.stop();
    return DONE;
  }

  async throw(error: unknown): Promise<never> {
    await this.source.stop();
    throw error;
  }
}
