/** The body of a request, while it is received. */
export interface Upload {
  /** Whether the client disconnected before it had sent all of the body. */
  readonly aborted: boolean;
  /** The error that readers of an aborted body receive over HTTP/1. */
  readonly errored?: Error | null;
}

/** How many causes of an error are read: a chain of causes may be circular. */
const MAX_DEPTH = 8;

/** Returns whether an error, or one of its causes, only means that the client aborted its upload. */
export function saysAborted(error: unknown, upload: Upload): boolean {
  if (!upload.aborted) {
    return false;
  }
  try {
    let cause = error;
    for (let depth = 0; depth < MAX_DEPTH && typeof cause === 'object' && cause !== null; depth++) {
      // The code is all that readers receive over HTTP/2, or if they start to read after the abort.
      if (cause === upload.errored || ('code' in cause && cause.code === 'ERR_STREAM_PREMATURE_CLOSE')) {
        return true;
      }
      cause = 'cause' in cause ? cause.cause : undefined;
    }
  } catch {
    // An error of the application may throw when its properties are read.
  }
  return false;
}
