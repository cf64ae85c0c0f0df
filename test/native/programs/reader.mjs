// Reads handles without nestjs-streaming, for programs that run with a sanitizer.

const ends = new Uint32Array(513);

/** Counts the chunks of a stream until its end. */
export function countChunks(handle) {
  return new Promise((resolve, reject) => {
    let count = 0;
    handle.onReady = () => {
      try {
        for (;;) {
          const batch = handle.take(ends, true);
          if (batch === null) {
            return;
          }
          if (batch === undefined) {
            resolve(count);
            return;
          }
          count += ends[0];
        }
      } catch (error) {
        reject(error);
      }
    };
    handle.onReady();
  });
}

/** Takes at most one batch. */
export function takeOnce(handle) {
  return handle.take(ends, true);
}
