import type { HubEvent } from '../event/hub-event.js';
import { SOURCE, type Source } from '../source/source.js';
import { StreamError } from '../util/errors.js';
import { InOrder } from '../util/in-order.js';
import type { RunReader } from './run-reader.js';

/**
 * A view of a run, created by `runs.start()` or `runs.join()`. Return it from a `@Stream()` or `@Sse()` method to send the chunks of the run to
 * the client. Or read it with `for await`: leaving the loop ends the view. It can be returned or read only once.
 *
 * Each chunk is an event with an `id`, with which `join()` continues after it. In a format without ids, only its `data` is sent.
 *
 * If the run has failed, the view ends with the error that Nest's exception filter would respond with. If it was stopped, it ends with a {@link StreamError} with the
 * code `run-stopped`, and if its process was lost, with the code `run-lost`.
 *
 * @example
 * ```ts
 * @Get(':id/stream')
 * @Stream({ format: 'sse' })
 * resume(@Param('id') id: string, @LastEventId() after?: string) {
 *   return this.runs.join(id, { after });
 * }
 * ```
 */
export class RunView<T = unknown> implements AsyncIterable<HubEvent<T>> {
  private taken = false;

  private constructor(
    /** The id of the run. */
    readonly id: string,
    private readonly reader: RunReader,
  ) {}

  /** @internal */
  static of<T>(id: string, reader: RunReader): RunView<T> {
    return new RunView<T>(id, reader);
  }

  /** Whether there is something to read. If not, the response has the status 204, and a loop ends at once. */
  get found(): boolean {
    return this.reader.head === undefined;
  }

  /** Ends the view. Its stream, or a `for await` loop over it, ends cleanly. */
  close(): void {
    this.taken = true;
    this.reader.stop();
  }

  /**
   * Reads the chunks with `for await`.
   * @throws {@link StreamError} with the code `invalid-source` if the view was returned or read already
   */
  [Symbol.asyncIterator](): AsyncIterator<HubEvent<T>, undefined> {
    const reader = this.take();
    const calls = new InOrder();
    return {
      next: () => {
        // The type of the data is not checked at run time.
        const step = Promise.resolve(calls.behind(() => reader.pull())) as Promise<
          IteratorResult<HubEvent<T>, undefined>
        >;
        calls.hold(step);
        return step;
      },
      return: () => {
        reader.stop();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** @internal */
  [SOURCE](): Source {
    return this.take();
  }

  private take(): RunReader {
    if (this.taken) {
      throw new StreamError('invalid-source', 'A view of a run is read once: call join() again');
    }
    this.taken = true;
    return this.reader;
  }
}
