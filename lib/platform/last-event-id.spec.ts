import type { IncomingMessage } from 'node:http';
import { lastEventIdOf } from './last-event-id.js';

/** What it is for a header as Node.js reads it. */
function read(header: string | undefined): string | undefined {
  const headers = header === undefined ? {} : { 'last-event-id': header };
  return lastEventIdOf({ headers } as unknown as IncomingMessage);
}

describe('the Last-Event-ID of a request', () => {
  it.each([
    ['nothing without the header', undefined, undefined],
    ['the header', 'abc', 'abc'],
    ['empty when the header is', '', ''],
    ['decoded from UTF-8', Buffer.from('✓').toString('latin1'), '✓'],
    ['left as Latin-1 when it is no UTF-8', '\xff', '\xff'],
    ['as long as it was sent', 'x'.repeat(8_000), 'x'.repeat(8_000)],
    ['kept with a NUL, which no client sends', 'a\0b', 'a\0b'],
    ['kept with a byte order mark, which is part of the id', Buffer.from('\ufeffa').toString('latin1'), '\ufeffa'],
  ])('is %s', (_what, header, id) => {
    expect(read(header)).toBe(id);
  });
});
