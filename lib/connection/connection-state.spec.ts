import { StreamStateError } from '../errors.js';
import { illegal, isOver, type StreamOperation, type StreamState, transition } from './connection-state.js';

const STATES: readonly StreamState[] = ['new', 'open', 'closing', 'closed', 'errored'];

describe('The state of a stream', () => {
  const ALLOWED: Record<StreamState, readonly StreamState[]> = {
    new: ['open', 'closed', 'errored'],
    open: ['closing', 'closed', 'errored'],
    closing: ['closed', 'errored'],
    closed: [],
    errored: [],
  };

  it.each(STATES.flatMap((from) => STATES.map((to) => [from, to] as const)))('%s → %s', (from, to) => {
    if (ALLOWED[from].includes(to)) {
      expect(transition(from, to)).toBe(to);
    } else {
      expect(() => transition(from, to)).toThrow(new StreamStateError(`A stream that is ${from} cannot become ${to}`));
    }
  });

  it.each(STATES)('%s is over, or not', (state) => {
    expect(isOver(state)).toBe(state === 'closed' || state === 'errored');
  });

  const OPERATIONS: Record<StreamOperation, readonly StreamState[]> = {
    status: ['new'],
    header: ['new'],
    open: ['new'],
    hooks: ['new', 'open'],
    send: ['new', 'open', 'closing'],
  };

  it.each(
    (Object.keys(OPERATIONS) as StreamOperation[]).flatMap((name) => STATES.map((state) => [name, state] as const)),
  )('%s() while it is %s', (operation, state) => {
    const error = illegal(operation, state, 'why');

    if (OPERATIONS[operation].includes(state)) {
      expect(error).toBeUndefined();
    } else {
      expect(error).toBeInstanceOf(StreamStateError);
      expect(error).toMatchObject({ code: 'invalid-state', cause: 'why' });
      expect(error?.message).toBe(
        `${operation}() is possible while a stream is ${OPERATIONS[operation].join(' or ')}, and this one is ${state}`,
      );
    }
  });
});
