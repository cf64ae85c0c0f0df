import { Deadline } from './deadline.js';

/**
 * Waits for a promise, but for at most `ms` milliseconds. The work behind the promise is not cancelled.
 * @returns whether the promise has resolved in time
 * @throws the reason if the promise has rejected in time. A later rejection is ignored
 */
export async function atMost(ms: number, done: PromiseLike<unknown>): Promise<boolean> {
  let deadline: Deadline | undefined;
  const late = new Promise<false>((resolve) => {
    deadline = new Deadline(() => resolve(false));
    deadline.start(ms);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    deadline?.clear();
  }
}
