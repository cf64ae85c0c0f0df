import type { SourceHead } from '../source/source.js';
import type { ResponseHead } from '../transport/response-head.js';

/** Gives a response the status and headers of a source that has them. */
export function transfer({ status, headers }: SourceHead, head: ResponseHead): void {
  if (status !== undefined) {
    head.status(status);
  }
  for (const [name, value] of headers) {
    if (name === 'vary') {
      for (const field of String(value).split(',')) {
        head.vary(field.trim());
      }
    } else {
      head.header(name, value);
    }
  }
}

/** Whether a body is of Server-Sent Events, and may be added to: its length is not fixed, and it is not compressed. */
export function isEventStream({ headers }: SourceHead): boolean {
  const { 'content-type': type, ...others } = Object.fromEntries(headers);
  const [mediaType = ''] = String(type).split(';');
  const fixed = 'content-length' in others || 'content-encoding' in others;
  return !fixed && mediaType.trim().toLowerCase() === 'text/event-stream';
}
