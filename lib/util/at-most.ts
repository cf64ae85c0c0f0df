/**
 * Waits for a promise, but for at most `ms` milliseconds. The work behind the promise is not cancelled.
 * @returns whether the promise has resolved in time
 * @throws the reason if the promise has rejected in time. A later rejection is ignored
 */
export async function atMost(ms: number, done: PromiseLike<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
