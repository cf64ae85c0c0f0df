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
 */
export type StreamState = 'new' | 'open' | 'closing' | 'closed' | 'errored';

/** The head of the response: not fixed, fixed but not yet written because a hook of the platform has a say, or written with the next bytes. */
type Head = 'unfixed' | 'pending' | 'fixed';

/** What is known in every phase: whether the handler was called, and how far the head is. */
interface Basics {
  readonly called: boolean;
  readonly head: Head;
}

/**
 * Everything that decides what a stream may do. `new`, `open` and `closing` are the states of these names. A stream that fails after its head is
 * `failing` while `onError` runs. `finishing` waits for the client to take the rest of the body; `finished` for the transport to have sent it.
 * Only in `over` has everything been released.
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
    | { readonly step: 'finished'; readonly failed: boolean; readonly reason: StreamCloseReason }
    | { readonly step: 'over'; readonly failed: boolean; readonly reason: StreamCloseReason }
  );

/** How a body ends: so that its client knows it to be whole, or not to be. */
export type BodyEnd = 'end' | 'truncate';

type Step = Phase['step'];

/** From which steps each change is possible. */
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

/** In which steps users may call the methods of a stream. */
const OPERATIONS = {
  status: ['new'],
  header: ['new'],
  open: ['new'],
  hooks: ['new', 'open'],
  send: ['new', 'open', 'closing'],
  flush: ['new', 'open', 'closing', 'finishing'],
  close: ['new', 'open'],
} satisfies Readonly<Record<string, readonly Step[]>>;

/** A method of a stream. `flush()` and `close()` are ignored where they have nothing to do; the others are refused. */
export type StreamOperation = keyof typeof OPERATIONS;

// Most streams are in one of these for nearly all of their life: they share the objects.
const ARRIVED: Phase = { step: 'new', called: false, head: 'unfixed' };
const CALLED: Phase = { step: 'new', called: true, head: 'unfixed' };
const OPENING: Phase = { step: 'open', called: true, head: 'unfixed' };
const OPEN: Phase = { step: 'open', called: true, head: 'fixed' };

/** The phase of one stream, and the only place that changes it. */
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

  /** Whether the head is fixed and not yet written: nothing may be written before it. */
  get headPending(): boolean {
    return this.phase.head === 'pending';
  }

  /** Whether the handler was, or is about to be, called. */
  get called(): boolean {
    return this.phase.called;
  }

  /** Whether the stream failed or is over: chunks are no longer taken. */
  get ended(): boolean {
    const { state } = this;
    return state === 'closed' || state === 'errored';
  }

  /** Whether the producer has been asked to stop: by whatever ended the stream, unless its source came to its end by itself. */
  get halted(): boolean {
    return this.ended || (this.state === 'closing' && this.reason?.code !== 'completed');
  }

  /** How the body ends once the client has taken what is before the rest. */
  get ending(): BodyEnd | undefined {
    return this.phase.step === 'finishing' ? this.phase.how : undefined;
  }

  /** Why the stream ends. Returns `undefined` in the states `new` and `open`. */
  get reason(): StreamCloseReason | undefined {
    return 'reason' in this.phase ? this.phase.reason : undefined;
  }

  /** The handler is about to be called. */
  call(): void {
    this.demand('call');
    this.phase = CALLED;
  }

  /** The stream opens: no more status, no more headers. */
  open(): void {
    this.demand('open');
    this.phase = OPENING;
  }

  /** @param pending whether the platform writes the head later */
  fixHead(pending: boolean): void {
    this.demand('fixHead');
    this.changeHead(pending ? 'pending' : 'fixed');
  }

  /** The platform has written the head that was pending. */
  headWritten(): void {
    this.changeHead('fixed');
  }

  /** The stream begins to end well. */
  close(reason: StreamCloseReason): void {
    this.demand('close');
    const { called, head } = this.phase;
    this.phase = { step: 'closing', called, head, reason };
  }

  /** The stream fails. */
  fail(error: unknown): void {
    this.demand('fail');
    const { called, head } = this.phase;
    this.phase = { step: 'failing', called, head, reason: { code: 'error', error } };
  }

  /** Nothing is added to the body any more but its end. */
  finish(how: BodyEnd): void {
    this.demand('finish');
    const { called, head, reason } = this.phase as Phase & { reason: StreamCloseReason };
    this.phase = { step: 'finishing', how, failed: this.ended, called, head, reason };
  }

  /** The last bytes of the body were handed to the transport. */
  finished(): void {
    this.demand('finished');
    const { called, head, reason } = this.phase as Phase & { reason: StreamCloseReason };
    this.phase = { step: 'finished', failed: this.ended, called, head, reason };
  }

  /** The last change. A stream that failed keeps its reason. */
  settle(reason: StreamCloseReason): void {
    this.demand('settle');
    const { called, head } = this.phase;
    const failed = this.ended;
    this.phase = { step: 'over', failed, called, head, reason: (failed ? this.reason : undefined) ?? reason };
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
