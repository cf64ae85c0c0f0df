/**
 * Waits for something, but no longer than `ms` milliseconds. It is not cancelled, but no longer waited for.
 * @returns whether it settled in time
 * @throws what it rejects with in time; a later rejection is ignored
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
