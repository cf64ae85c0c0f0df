/**
 * Waits for something, but no longer than `ms` milliseconds. Nothing cancels it: it is only not waited for any more.
 * @returns whether it was over in time
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
