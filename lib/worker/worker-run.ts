import { MessageChannel, type MessagePort, receiveMessageOnPort, type TransferListItem } from 'node:worker_threads';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { deferred } from '../util/thenable.js';
import { carry, thrownBy } from './carried-error.js';
import { Control } from './control.js';
import {
  type Execution,
  runInPool,
  runInThread,
  uncloneable,
  type WorkerPool,
  type WorkerThreadOptions,
} from './execution.js';
import { type Inbox, MessageInbox } from './inbox.js';
import { type Ahead, DOORBELL, type FromWorker, type ToWorker } from './messages.js';
import { ringMemory } from './ring.js';
import { RingInbox } from './ring-inbox.js';

/** What one call of `fromWorker()` asks for: its options, checked and complete. */
export interface WorkerSetup {
  readonly file: URL;
  readonly data: unknown;
  readonly transferList: TransferListItem[];
  readonly pool: WorkerPool | undefined;
  readonly worker: WorkerThreadOptions | undefined;
  readonly ahead: Ahead;
  /** The capacity of the ring in bytes, if there is one. */
  readonly ring: number | undefined;
  /** In milliseconds. */
  readonly grace: number;
}

/** How a producer has ended. */
export interface Outcome {
  readonly error?: unknown;
}

/** One call of a producer, seen from the thread of its consumer. */
export class WorkerRun {
  readonly inbox: Inbox;
  private readonly control = new Control();
  private readonly port: MessagePort;
  private readonly execution: Execution;
  private readonly gone = deferred();
  private result: Outcome | undefined;
  private aborted = false;
  /** Whether the producer was still at work when it was aborted. */
  private interrupted = false;
  private graceTimer: NodeJS.Timeout | undefined;
  /** An error after the abort, such as one of a `finally` block. */
  private late: unknown;

  /** Starts the producer. @param onChange called when there may be chunks, or an outcome */
  constructor(
    private readonly setup: WorkerSetup,
    private readonly onChange: () => void,
  ) {
    const { file, data, ahead, pool, worker } = setup;
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    const ring = setup.ring === undefined ? undefined : ringMemory(setup.ring);
    const onRoom = () => this.send(DOORBELL);
    this.inbox = ring
      ? new RingInbox(ring, this.control, onRoom, () => this.receiveNow())
      : new MessageInbox(this.control, onRoom);
    const assignment = {
      file,
      control: this.control,
      task: { port: port2, control: this.control.memory, ahead, ring, data },
      transferList: [port2, ...setup.transferList],
      onExit: (crash: StreamError | undefined) => this.onExit(crash),
    };
    try {
      this.execution = pool ? runInPool(assignment, pool) : runInThread(assignment, worker);
    } catch (error) {
      port1.close();
      throw uncloneable(error) ?? error;
    }
    port1.on('message', this.onMessage);
    port1.on('messageerror', (error) => this.finish({ error }));
  }

  /** How the producer has ended, after its last chunk in the inbox. */
  get outcome(): Outcome | undefined {
    return this.result;
  }

  /** Resolves when none of its code runs any more. Rejects with an error that occurred after {@link abort}. */
  get exited(): Promise<void> {
    return this.gone.promise;
  }

  /** Stops the producer. Its chunks that were not read are dropped. */
  abort(reason: unknown): void {
    if (this.aborted) {
      return;
    }
    this.aborted = true;
    const atWork = this.result === undefined;
    this.inbox.clear();
    this.finish({ error: reason });
    // Also if the producer had ended: without the chunks that are dropped, its end would look complete.
    this.result = { error: reason };
    // In this order: a producer that sees the flag looks for the message.
    this.send({ abort: carry(reason) });
    this.control.abort();
    if (this.control.started) {
      this.interrupted = atWork;
    } else {
      // Nothing has to be left yet. A producer that starts meanwhile sees the abort first.
      this.execution.kill();
    }
  }

  private send(message: ToWorker): void {
    this.port.postMessage(message);
  }

  private readonly onMessage = (message: FromWorker): void => {
    if (message === DOORBELL) {
      this.onChange();
    } else if ('end' in message) {
      this.finish({});
    } else if ('error' in message) {
      const error = thrownBy(message.error);
      if (this.aborted) {
        this.late = error;
      }
      this.finish({ error });
    } else if (!this.aborted) {
      this.inbox.receive(message);
      this.onChange();
    }
  };

  /** Notes the outcome. From now on, the thread has little time. */
  private finish(outcome: Outcome): void {
    if (this.result) {
      return;
    }
    this.result = outcome;
    this.graceTimer = setTimeout(() => this.onGraceOver(), this.setup.grace);
    this.onChange();
  }

  private onGraceOver(): void {
    if (this.interrupted) {
      const { file, grace } = this.setup;
      this.late ??= new StreamError(
        'worker-failed',
        `The worker ${file.href} did not stop within ${grace} ms, so it was ended without its finally blocks. Read \`signal.aborted\` in loops, pass the signal to what is awaited, or raise \`grace\``,
      );
    }
    this.execution.kill();
  }

  /** Receives the messages that the event loop has not delivered yet. */
  private receiveNow(): void {
    for (let next = receiveMessageOnPort(this.port); next; next = receiveMessageOnPort(this.port)) {
      this.onMessage(next.message as FromWorker);
    }
  }

  private onExit(crash: StreamError | undefined): void {
    // What the producer has sent before its end comes first.
    this.receiveNow();
    if (this.result && crash?.cause !== undefined && (crash.cause as Partial<Error>).name !== 'AbortError') {
      this.late ??= crash;
    }
    this.finish({ error: crash });
    clearTimeout(this.graceTimer);
    this.port.close();
    if (this.late === undefined) {
      this.gone.resolve();
    } else {
      this.gone.reject(this.late);
    }
  }
}

/** Reports an error that nobody waits for. */
export function warnOf(error: unknown): void {
  process.emitWarning(`A worker failed after its stream had ended: ${textOf(error)}`);
}
