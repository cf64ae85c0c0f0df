import type { SourceHead } from '../source/source.js';
import type { ResponseHead } from '../transport/response-head.js';

/** Sets the status and headers of a source on a response. */
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

/** Returns whether a body consists of Server-Sent Events to which heartbeats may be added: it has no declared length, and is not compressed. */
export function isEventStream({ headers }: SourceHead): boolean {
  const { 'content-type': type, ...others } = Object.fromEntries(headers);
  const [mediaType = ''] = String(type).split(';');
  const fixed = 'content-length' in others || 'content-encoding' in others;
  return !fixed && mediaType.trim().toLowerCase() === 'text/event-stream';
}
