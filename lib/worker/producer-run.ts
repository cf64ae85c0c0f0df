import { receiveMessageOnPort } from 'node:worker_threads';
import { demandStep, type Step } from '../util/iteration.js';
import { type Deferred, deferred, isThenable } from '../util/thenable.js';
import { thrownBy } from './carried-error.js';
import { Control } from './control.js';
import { DOORBELL, type ToWorker, type WorkerTask } from './messages.js';
import { MessageOutbox, type Outbox } from './outbox.js';
import { RingOutbox } from './ring-outbox.js';
import { pollWhenRead } from './shared-signal.js';

/** Chunks are collected for at most this time, in milliseconds. */
const SLICE_MS = 2;

/** The part of both kinds of iterators that is used. */
export interface AnyIterator {
  next(): Step | PromiseLike<Step>;
  return?(): unknown;
}

/** Runs a producer in a worker: reads its iterator while the consumer is not too far behind. */
export class ProducerRun {
  private readonly control: Control;
  private readonly controller = new AbortController();
  private readonly outbox: Outbox;
  private iterator: AnyIterator | undefined;
  /** Whether code of the producer is on the stack. */
  private producing = false;
  private leaving = false;
  private flushScheduled = false;
  private room: Deferred<void> | undefined;
  /** Settled when the iterator is left before its end. */
  private readonly left = deferred();

  constructor(private readonly task: WorkerTask) {
    this.control = new Control(task.control);
    const { port, ahead, ring } = task;
    this.outbox = ring ? new RingOutbox(port, this.control, ahead, ring) : new MessageOutbox(port, this.control, ahead);
  }

  async run(open: (data: unknown, signal: AbortSignal) => AnyIterator): Promise<void> {
    const { port, data } = this.task;
    const { signal } = this.controller;
    this.control.markStarted();
    port.on('message', this.onMessage);
    signal.addEventListener('abort', () => this.leave());
    try {
      this.poll();
      if (!signal.aborted) {
        const shared = pollWhenRead(signal, () => this.poll());
        this.iterator = this.synchronously(() => open(data, shared));
        await Promise.race([this.drive(this.iterator), this.left.promise]);
      }
      await this.drain();
      this.outbox.end();
    } catch (error) {
      await this.fail(error);
    } finally {
      port.close();
    }
  }

  /** Sends what was collected, and waits until there was room for it. */
  private async drain(): Promise<void> {
    this.outbox.flush();
    while (!this.outbox.isWritten && !this.control.aborted) {
      await this.waitUntil(() => this.outbox.isWritten);
    }
  }

  private async drive(iterator: AnyIterator): Promise<void> {
    // The first chunk is sent at once, and so is each chunk of a producer that computes for long: the loop may not return to the event loop for a while.
    let sliceEnd = 0;
    while (!this.isOver()) {
      if (!this.outbox.hasRoom) {
        this.outbox.flush();
        await this.waitUntil(() => this.outbox.hasRoom);
        continue;
      }
      const next = this.synchronously(() => iterator.next());
      // An abort while it computed: its signal is aborted before it is left.
      this.isOver();
      const step = isThenable(next) ? await next : next;
      demandStep(step);
      if (this.leaving) {
        break;
      }
      if (step.done) {
        return;
      }
      await this.take(step.value);
      if (performance.now() > sliceEnd) {
        this.outbox.flush();
        // Other code of this thread runs, such as listeners of the signal, or other producers of a pool.
        await new Promise((resolve) => setImmediate(resolve));
        sliceEnd = performance.now() + SLICE_MS;
      }
    }
    // It is not complete: it ends as its iterator is left, which may be with an error.
    await this.left.promise;
  }

  /** Returns whether the producer has to stop, and stops it. */
  private isOver(): boolean {
    if (this.control.aborted) {
      this.poll();
      this.leave();
    }
    return this.leaving;
  }

  private synchronously<R>(produce: () => R): R {
    this.producing = true;
    try {
      return produce();
    } finally {
      this.producing = false;
    }
  }

  /** Reports an error of the producer, unless it only says that the producer was stopped. */
  private async fail(error: unknown): Promise<void> {
    const { signal } = this.controller;
    if (signal.aborted && (error === signal.reason || (error as Partial<Error> | undefined)?.name === 'AbortError')) {
      this.outbox.end();
      return;
    }
    try {
      await this.drain();
      this.outbox.fail(error);
    } catch (other) {
      // A chunk before the error cannot be sent.
      this.outbox.fail(other);
    }
  }

  private take(chunk: unknown): void | Promise<void> {
    // Only a sync generator yields promises.
    if (isThenable(chunk)) {
      return Promise.resolve(chunk).then(
        (value) => this.push(value),
        (error: unknown) => this.leave({ error }),
      );
    }
    this.push(chunk);
  }

  private push(chunk: unknown): void {
    try {
      this.outbox.push(chunk);
    } catch (error) {
      this.leave({ error });
      return;
    }
    if (!this.flushScheduled && !this.outbox.isFlushed) {
      this.flushScheduled = true;
      setImmediate(this.onTurn);
    }
  }

  private readonly onTurn = (): void => {
    this.flushScheduled = false;
    try {
      this.outbox.flush();
    } catch (error) {
      this.leave({ error });
    }
  };

  private async waitUntil(isReady: () => boolean): Promise<void> {
    this.room = deferred();
    this.control.awaitRoom();
    if (!isReady() && !this.control.aborted) {
      await this.room.promise;
    }
    this.room = undefined;
  }

  /** Stops the iterator before its end, so that its `finally` blocks run. It is not called again. */
  private leave(failure?: { readonly error: unknown }): void {
    if (this.leaving || this.producing) {
      // A sync generator cannot be stopped while it runs. The loop stops it after that.
      return;
    }
    this.leaving = true;
    const left = async () => {
      await this.iterator?.return?.();
      if (failure) {
        throw failure.error;
      }
    };
    left().then(this.left.resolve, this.left.reject);
  }

  /** Reads the messages that wait, if the shared memory says that there is an abort: the event loop may not have come to them. */
  private poll(): void {
    if (this.control.aborted && !this.leaving) {
      for (let next = receiveMessageOnPort(this.task.port); next; next = receiveMessageOnPort(this.task.port)) {
        this.onMessage(next.message as ToWorker);
      }
    }
  }

  private readonly onMessage = (message: ToWorker): void => {
    this.room?.resolve();
    if (message !== DOORBELL) {
      // The message may arrive before the flag. Nothing would wake a producer that waits for room meanwhile.
      this.control.abort();
      this.controller.abort(thrownBy(message.abort));
    }
  };
}
