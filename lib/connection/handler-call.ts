import { AsyncResource } from 'node:async_hooks';
import type { Admission } from './stream-settings.js';

/** The call of the handler of a stream. Its source and hooks run in the async context of this call, which interceptors may have changed. */
export class HandlerCall extends AsyncResource {
  /** When the head was sent. */
  openedAt: number | undefined;

  /**
   * @param beganAt when the handler was called
   * @param admissions left when the stream has ended
   */
  constructor(
    readonly beganAt: number,
    readonly admissions: readonly Admission[],
  ) {
    super('StreamConnection');
  }
}
