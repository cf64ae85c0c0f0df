import type { IncomingMessage } from 'node:http';
import { lastEventIdOf } from './last-event-id.js';

/** What it is for a header as Node.js reads it, and what was said of it. */
function read(header: string | undefined): { id: string | undefined; said: string[] } {
  const said: string[] = [];
  const request = { headers: header === undefined ? {} : { 'last-event-id': header } } as unknown as IncomingMessage;
  const logger = { error: () => undefined, warn: () => undefined, debug: (line: string) => void said.push(line) };
  return { id: lastEventIdOf(request, logger), said };
}

describe('the Last-Event-ID of a request', () => {
  it.each([
    ['nothing without the header', undefined, undefined],
    ['the header', 'abc', 'abc'],
    ['empty when the header is', '', ''],
    ['decoded from UTF-8', Buffer.from('✓').toString('latin1'), '✓'],
    ['left as Latin-1 when it is no UTF-8', '\xff', '\xff'],
    ['kept with a byte order mark, which is part of the id', Buffer.from('\ufeffa').toString('latin1'), '\ufeffa'],
  ])('is %s', (_what, header, id) => {
    expect(read(header)).toEqual({ id, said: [] });
  });

  it.each([
    ['is too long', 'x'.repeat(1_025)],
    ['holds a NUL', 'a\0b'],
  ])('is ignored, with a debug line, when it %s', (_what, header) => {
    const { id, said } = read(header);

    expect(id).toBeUndefined();
    expect(said).toHaveLength(1);
    expect(said[0]).not.toContain('\0');
  });
});
