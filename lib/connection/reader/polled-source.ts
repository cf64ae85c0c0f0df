import type { HubEvent } from '../../event/hub-event.js';
import type { SharedPort, SharedSource } from '../../source/shared-source.js';
import type { PullSource, ResumableSource } from '../../source/source.js';
import { type Step } from '../../util/iteration.js';
import { isThenable } from '../../util/thenable.js';

/** Returns whether a long poll can read a source. */
export function isResumable(source: PullSource): source is ResumableSource {
  return (source as Partial<ResumableSource>).resumesAfter !== undefined;
}

/** Reads a source for a long poll: passes on the chunks that are there, and then each new one, until the poll has enough. */
export class PolledSource implements SharedSource {
  readonly kind = 'shared';
  readonly endless = true;
  readonly queue = { items: 1_000, bytes: 1_048_576 };
  /** The id of the last chunk that was passed on. */
  position: string | undefined;
  private port: SharedPort | undefined;
  private passed = 0;

  constructor(private readonly source: ResumableSource) {
    this.position = source.resumesAfter;
  }

  connect(port: SharedPort): void {
    this.port = port;
    this.source.onWait = () => port.onCaughtUp?.();
  }

  resume(): void {
    void this.read();
  }

  refresh(): void {
    return;
  }

  catchUp(): string | undefined {
    return this.position;
  }

  stop(): void {
    this.source.onWait = undefined;
    void this.source.stop();
  }

  /** Never rejects. */
  private async read(): Promise<void> {
    const { port, source } = this;
    while (port?.ready) {
      let step: Step | PromiseLike<Step>;
      try {
        step = source.pull();
        step = isThenable(step) ? await step : step;
      } catch (error) {
        if (port.ready) {
          // An error comes after the chunks before it: in the next poll.
          this.passed > 0 ? port.complete() : port.fail(error);
        }
        return;
      }
      if (!port.ready) {
        // Not passed on, and so left for the next poll.
        return;
      }
      if (step.done) {
        port.complete();
        return;
      }
      const event = step.value as HubEvent;
      this.position = event.id;
      this.passed++;
      void port.emit(event, source.weight);
    }
  }
}
