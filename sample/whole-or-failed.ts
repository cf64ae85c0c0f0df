import { ServiceUnavailableException } from '@nestjs/common';
import { StreamCloseError, type StreamHooks } from 'nestjs-streaming';

/**
 * For streams that have an end: one that the server closes before it, because it is shutting down, fails
 * instead of ending well, so that nobody takes the half that came for the whole.
 */
export const WHOLE_OR_FAILED: StreamHooks = {
  beforeClose({ signal }) {
    // The source that came to its end by itself has not aborted anything.
    if (signal.aborted) {
      const reason: unknown = signal.reason;
      throw new ServiceUnavailableException(reason instanceof StreamCloseError ? reason.code : 'closed', {
        cause: reason,
      });
    }
  },
};
