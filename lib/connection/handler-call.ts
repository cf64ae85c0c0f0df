import { AsyncResource } from 'node:async_hooks';
import type { Admission } from './stream-settings.js';

/** The call of the handler of a stream. Its source and its hooks run in the context of it: interceptors may have changed that of the request. */
export class HandlerCall extends AsyncResource {
  /** When the head was sent. */
  openedAt: number | undefined;

  /**
   * @param beganAt when the handler was called
   * @param admissions left when the stream is over
   */
  constructor(
    readonly beganAt: number,
    readonly admissions: readonly Admission[],
  ) {
    super('StreamConnection');
  }
}
