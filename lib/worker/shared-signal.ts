/**
 * Makes a signal see an abort that the event loop of its thread has not delivered yet: a loop that only computes reads `signal.aborted` between two steps.
 *
 * @param poll looks for the abort, and aborts the controller of the signal
 */
export function pollWhenRead(signal: AbortSignal, poll: () => void): AbortSignal {
  const read = <K extends 'aborted' | 'reason'>(key: K): AbortSignal[K] => {
    poll();
    return Reflect.get(AbortSignal.prototype, key, signal) as AbortSignal[K];
  };
  return Object.defineProperties(signal, {
    aborted: { get: () => read('aborted') },
    reason: { get: () => read('reason') },
    throwIfAborted: {
      value: () => {
        if (read('aborted')) {
          throw signal.reason;
        }
      },
    },
  });
}
