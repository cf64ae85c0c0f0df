import { Controller, type Type } from '@nestjs/common';
import { Stream, type StreamOptions } from '../../lib/index.js';

/** A controller whose only route, `GET /source`, streams what a function returns. */
export function controllerOf(produce: () => unknown, options: StreamOptions = {}): Type {
  @Controller()
  class Sources {
    @Stream('source', options)
    source(): unknown {
      return produce();
    }
  }
  return Sources;
}
