import type { SourceHead } from '../source/source.js';
import type { ResponseHead } from './stream-settings.js';

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
