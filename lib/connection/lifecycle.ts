import type { StreamCloseReason } from '../util/close-reason.js';
import { StreamStateError } from '../util/errors.js';

/**
 * The state of a stream.
 *
 * ```
 * new ──► open ──► closing ──► closed
 *  │        │         │
 *  └────────┴─────────┴──► errored      (and to closed, when the client disconnects)
 * ```
 *
 * - `new`: the status and headers can still be set
 * - `open`: chunks are sent
 * - `closing`: the stream ends cleanly, but not all of it is sent yet
 * - `closed`: the stream has ended, or its client has disconnected
 * - `errored`: the stream has failed
 */
export type StreamState = 'new' | 'open' | 'closing' | 'closed' | 'errored';

/** `pending`: the status and headers are final, but hooks of the platform still have to run before the head can be written. */
type Head = 'unfixed' | 'pending' | 'fixed';

/** The fields of every phase: whether the handler was called, and the state of the head. */
interface Basics {
  readonly called: boolean;
  readonly head: Head;
}

/**
 * The phase of a stream, which determines the possible operations. `new`, `open` and `closing` are the states with these names. If a stream fails
 * after its head was sent, it is `failing` while `onError` runs. In `finishing`, the stream waits until the client has room for the rest of the
 * body, and in `finished` until the transport has sent it. In `over`, all resources are released.
 */
type Phase = Basics &
  (
    | { readonly step: 'new' }
    | { readonly step: 'open' }
    | { readonly step: 'closing'; readonly reason: StreamCloseReason }
    | { readonly step: 'failing'; readonly reason: StreamCloseReason }
    | {
        readonly step: 'finishing';
        readonly how: BodyEnd;
        readonly failed: boolean;
        readonly reason: StreamCloseReason;
      }
    | {
        readonly step: 'finished';
        readonly how: BodyEnd;
        readonly failed: boolean;
        readonly reason: StreamCloseReason;
      }
    | { readonly step: 'over'; readonly failed: boolean; readonly reason: StreamCloseReason }
  );

/** How a body ends: complete (`end`), or cut off so that the client knows that it is incomplete (`truncate`). */
export type BodyEnd = 'end' | 'truncate';

type Step = Phase['step'];

/** The steps in which each change is possible. */
const CHANGES = {
  call: ['new'],
  open: ['new'],
  fixHead: ['new', 'open', 'closing'],
  close: ['new', 'open'],
  fail: ['new', 'open', 'closing', 'finishing', 'finished'],
  finish: ['closing', 'failing', 'finishing'],
  finished: ['finishing'],
  settle: ['new', 'open', 'closing', 'failing', 'finishing', 'finished'],
} satisfies Readonly<Record<string, readonly Step[]>>;

/** A change of the phase of a stream. */
export type StreamChange = keyof typeof CHANGES;

/** The steps in which users may call each method of a stream. */
const OPERATIONS = {
  status: ['new'],
  header: ['new'],
  open: ['new'],
  hooks: ['new', 'open'],
  label: ['new', 'open'],
  expire: ['new', 'open'],
  send: ['new', 'open', 'closing'],
  flush: ['new', 'open', 'closing', 'finishing'],
  close: ['new', 'open'],
} satisfies Readonly<Record<string, readonly Step[]>>;

/** A method of a stream. In other steps, `flush()`, `close()`, `label()` and `expire()` do nothing, and all other methods throw. */
export type StreamOperation = keyof typeof OPERATIONS;

// Most streams are in one of these phases for nearly all of the time, so they share the objects.
const ARRIVED: Phase = { step: 'new', called: false, head: 'unfixed' };
const CALLED: Phase = { step: 'new', called: true, head: 'unfixed' };
const OPENING: Phase = { step: 'open', called: true, head: 'unfixed' };
const OPEN: Phase = { step: 'open', called: true, head: 'fixed' };

/** Holds the phase of one stream. Only this class changes it. */
export class Lifecycle {
  private phase = ARRIVED;

  get state(): StreamState {
    const { phase } = this;
    switch (phase.step) {
      case 'failing':
        return 'errored';
      case 'finishing':
      case 'finished':
        return phase.failed ? 'errored' : 'closing';
      case 'over':
        return phase.failed ? 'errored' : 'closed';
      default:
        return phase.step;
    }
  }

  get step(): Step {
    return this.phase.step;
  }

  /** Whether the status and headers can no longer change, so that exception filters can no longer respond. */
  get headFixed(): boolean {
    return this.phase.head !== 'unfixed';
  }

  /** Whether the head is fixed, but not written yet, so that no body may be written. */
  get headPending(): boolean {
    return this.phase.head === 'pending';
  }

  /** Whether the handler was called, or is about to be called. */
  get called(): boolean {
    return this.phase.called;
  }

  /** Whether the stream has failed or ended, so that no more chunks are accepted. */
  get ended(): boolean {
    const { state } = this;
    return state === 'closed' || state === 'errored';
  }

  /** Whether the producer was asked to stop, because the stream has ended for another reason than the end of its source. */
  get halted(): boolean {
    return this.ended || (this.state === 'closing' && this.reason?.code !== 'completed');
  }

  /** How the body will end once the client has room for the rest of it. `undefined` in other steps than `finishing`. */
  get ending(): BodyEnd | undefined {
    return this.phase.step === 'finishing' ? this.phase.how : undefined;
  }

  /** Why the stream ends. Returns `undefined` in the states `new` and `open`. */
  get reason(): StreamCloseReason | undefined {
    return 'reason' in this.phase ? this.phase.reason : undefined;
  }

  /** Called before the handler is called. */
  call(): void {
    this.demand('call');
    this.phase = CALLED;
  }

  /** Opens the stream: the status and headers can no longer be set. */
  open(): void {
    this.demand('open');
    this.phase = OPENING;
  }

  /** Fixes the head. @param pending whether the platform completes it later */
  fixHead(pending: boolean): void {
    this.demand('fixHead');
    this.changeHead(pending ? 'pending' : 'fixed');
  }

  /** Called when the platform has completed a pending head. */
  headWritten(): void {
    this.changeHead('fixed');
  }

  /** Begins a clean end. */
  close(reason: StreamCloseReason): void {
    this.demand('close');
    const { called, head } = this.phase;
    this.phase = { step: 'closing', called, head, reason };
  }

  /** Begins the end with an error. */
  fail(error: unknown): void {
    this.demand('fail');
    const { called, head } = this.phase;
    this.phase = { step: 'failing', called, head, reason: { code: 'error', error } };
  }

  /** Called when the body is complete, except for its end. */
  finish(how: BodyEnd): void {
    this.demand('finish');
    const { called, head, reason } = this.phase as Phase & { reason: StreamCloseReason };
    this.phase = { step: 'finishing', how, failed: this.ended, called, head, reason };
  }

  /** Called when the last bytes of the body were written to the transport. */
  finished(): void {
    this.demand('finished');
    const { called, head, how, reason } = this.phase as Phase & { step: 'finishing' };
    this.phase = { step: 'finished', how, failed: this.ended, called, head, reason };
  }

  /** The last change. If the stream has failed before, or was cut off, it keeps its reason. */
  settle(reason: StreamCloseReason): void {
    this.demand('settle');
    const { phase } = this;
    const { called, head } = phase;
    const failed = this.ended;
    const isCutOff = phase.step === 'finished' && phase.how === 'truncate';
    this.phase = {
      step: 'over',
      failed,
      called,
      head,
      reason: (failed || isCutOff ? this.reason : undefined) ?? reason,
    };
  }

  allows(operation: StreamOperation): boolean {
    const allowed: readonly Step[] = OPERATIONS[operation];
    return allowed.includes(this.phase.step);
  }

  /** Returns the error of an operation that the phase does not allow. */
  refusal(operation: StreamOperation, cause?: unknown): StreamStateError {
    const { state } = this;
    const ended = state === 'closing' && this.phase.step !== 'closing';
    return new StreamStateError(
      `${operation}() is possible while a stream is ${OPERATIONS[operation].join(' or ')}, and this one is ${state}${ended ? ', with its body at its end' : ''}`,
      { cause },
    );
  }

  private demand(change: StreamChange): void {
    const from: readonly Step[] = CHANGES[change];
    const { step } = this.phase;
    if (!from.includes(step) || (change === 'fail' && this.ended)) {
      throw new StreamStateError(`A stream that is ${step} cannot ${change}: it is ${this.state}`);
    }
  }

  private changeHead(head: Head): void {
    const { phase } = this;
    this.phase = phase === OPENING && head === 'fixed' ? OPEN : { ...phase, head };
  }
}
