import { ServiceUnavailableException } from '@nestjs/common';
import { StreamCloseError, type StreamHooks } from 'nestjs-streaming';

/**
 * For streams that have an end. If the server closes such a stream on shutdown before its end, the stream fails instead of ending
 * cleanly, so that the client notices that it is incomplete.
 */
export const WHOLE_OR_FAILED: StreamHooks = {
  beforeClose({ signal }) {
    // If the source has ended by itself, the signal is not aborted.
    if (signal.aborted) {
      const reason: unknown = signal.reason;
      throw new ServiceUnavailableException(reason instanceof StreamCloseError ? reason.code : 'closed', {
        cause: reason,
      });
    }
  },
};
