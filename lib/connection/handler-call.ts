import { AsyncResource } from 'node:async_hooks';
import { addLabels, NO_LABELS, type StreamLabels } from '../util/labels.js';
import type { Authorization } from './authorization.js';
import type { Admission } from './stream-settings.js';

/** The call of the handler of a stream. Its source and hooks run in the async context of this call, which interceptors may have changed. */
export class HandlerCall extends AsyncResource {
  /** When the head was sent. */
  openedAt: number | undefined;
  /** The labels of the stream. Not a field, so that the object of a stream without labels has no place for them. */
  declare labels?: StreamLabels;
  /** The trace context of the run that the stream shows. Not a field either. */
  declare trace?: string;
  /** The limits of the access of the client. Not a field either. */
  declare access?: Authorization;

  /**
   * @param beganAt when the handler was called
   * @param admission left when the stream has ended
   */
  constructor(
    readonly beganAt: number,
    readonly admission: Admission | undefined,
    labels?: StreamLabels,
  ) {
    super('StreamConnection');
    if (labels) {
      this.labels = labels;
    }
  }

  /** Called when the head was sent. */
  onHead(openedAt: number): void {
    this.openedAt = openedAt;
  }

  /** Checks labels, and adds them if the stream accepts any. Returns whether it does. */
  label(labels: StreamLabels, accepts: boolean, route: string): boolean {
    const all = addLabels(this.labels ?? NO_LABELS, labels, `stream.label() in ${route}`);
    if (accepts) {
      this.labels = all;
    }
    return accepts;
  }
}
