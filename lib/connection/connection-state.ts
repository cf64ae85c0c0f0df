import { StreamStateError } from '../errors.js';

/**
 * Where a stream is in its life.
 *
 * ```
 * new ──► open ──► closing ──► closed
 *  │        │         │
 *  └────────┴─────────┴──► errored      (and to closed, when the client leaves)
 * ```
 */
export type StreamState = 'new' | 'open' | 'closing' | 'closed' | 'errored';

/** The one table: which state may follow which. */
const TRANSITIONS: Readonly<Record<StreamState, readonly StreamState[]>> = {
  new: ['open', 'closed', 'errored'],
  open: ['closing', 'closed', 'errored'],
  closing: ['closed', 'errored'],
  closed: [],
  errored: [],
};

/** What a user may ask of a stream, and in which states. */
const OPERATIONS = {
  status: ['new'],
  header: ['new'],
  open: ['new'],
  hooks: ['new', 'open'],
  send: ['new', 'open', 'closing'],
} satisfies Readonly<Record<string, readonly StreamState[]>>;

/** What may be asked of a stream only in certain states. */
export type StreamOperation = keyof typeof OPERATIONS;

/** The state after a change, or a {@link StreamStateError} when the table has none. */
export function transition(from: StreamState, to: StreamState): StreamState {
  if (!TRANSITIONS[from].includes(to)) {
    throw new StreamStateError(`A stream that is ${from} cannot become ${to}`);
  }
  return to;
}

/** Whether a stream has ended, in whatever way. */
export function isOver(state: StreamState): boolean {
  return state === 'closed' || state === 'errored';
}

/** The error of an operation the state does not allow, if it is one. */
export function illegal(operation: StreamOperation, state: StreamState, cause?: unknown): StreamStateError | undefined {
  const allowed: readonly StreamState[] = OPERATIONS[operation];
  if (allowed.includes(state)) {
    return undefined;
  }
  return new StreamStateError(
    `${operation}() is possible while a stream is ${allowed.join(' or ')}, and this one is ${state}`,
    { cause },
  );
}
