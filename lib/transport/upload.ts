/** The body of a request, while it is received. */
export interface Upload {
  /** Whether the client left before it had sent all of it. */
  readonly aborted: boolean;
  /** What whoever reads it then gets, over HTTP/1. */
  readonly errored?: Error | null;
}

/** An error has few causes, unless they go round in a circle. */
const DEEPEST = 8;

/** Whether an error, or one that caused it, says no more than that an upload was aborted. */
export function saysAborted(error: unknown, upload: Upload): boolean {
  if (!upload.aborted) {
    return false;
  }
  try {
    let cause = error;
    for (let depth = 0; depth < DEEPEST && typeof cause === 'object' && cause !== null; depth++) {
      // The second is all that readers get over HTTP/2, and whoever reads too late.
      if (cause === upload.errored || ('code' in cause && cause.code === 'ERR_STREAM_PREMATURE_CLOSE')) {
        return true;
      }
      cause = 'cause' in cause ? cause.cause : undefined;
    }
  } catch {
    // Reading an error of the application may throw.
  }
  return false;
}
