import { StreamError } from '../util/errors.js';
import { deferred } from '../util/thenable.js';
import type { FanOut } from './fan-out.js';
import type { Lane } from './lane.js';
import type { FindStart, Loss, StartRequest } from './start.js';
import type { WholeLog } from './whole-log.js';

/** The lane of a log that this process receives as a whole only once somebody subscribes to all of it. */
export class LazyLane implements Lane {
  private opening: Promise<void> | undefined;
  private isOpen = false;
  private isClosed = false;
  private readonly ended = deferred<void>();

  /** @param end returns the id of the newest event, as far as this process knows */
  constructor(
    private readonly log: WholeLog,
    private readonly end: () => string,
  ) {}

  get fanOut(): FanOut {
    return this.log.fanOut;
  }

  get floor(): number {
    return this.log.floor;
  }

  /** The log, if it is open. */
  get opened(): WholeLog | undefined {
    return this.isOpen ? this.log : undefined;
  }

  idAt(number: number): string {
    return this.log.idAt(number);
  }

  oldestStart(number: number): number {
    return this.log.oldestStart(number);
  }

  requestOf(request: StartRequest): FindStart {
    if (this.isOpen) {
      return this.log.requestOf(request);
    }
    // What is published until the log is open is read.
    const after = request.after || (request.last === 0 ? this.end() : undefined);
    return async (client) => {
      await this.open();
      return this.log.requestOf({ ...request, after })(client);
    };
  }

  continueAfter(): undefined {
    return this.log.continueAfter();
  }

  reset(loss: Loss): ReturnType<Lane['reset']> {
    return this.log.reset(loss);
  }

  enter(): void {
    // All events are received.
  }

  leave(): void {
    // All events are received.
  }

  /** Stops repeating reads that fail. */
  stopRetrying(): void {
    this.log.stopRetrying();
  }

  /** Closes the log. If it is being opened, it is closed after that, and nobody waits for it. */
  async close(): Promise<void> {
    this.isClosed = true;
    if (this.isOpen) {
      await this.log.close();
    }
  }

  /** Ends the waiting of all subscribers that have not started. */
  endStarts(): void {
    this.ended.resolve();
    this.opened?.endStarts();
  }

  private async open(): Promise<void> {
    if (!this.isClosed) {
      this.opening ??= this.openLog();
    }
    await Promise.race([this.opening, this.ended.promise]);
    if (!this.isOpen) {
      throw new StreamError('hub-closed', `The hub "${this.log.name}" is closed: subscribe() again in another process`);
    }
  }

  private async openLog(): Promise<void> {
    try {
      await this.log.open();
    } catch (error) {
      this.opening = undefined;
      throw error;
    }
    if (this.isClosed) {
      await this.log.close();
    } else {
      this.isOpen = true;
    }
  }
}
