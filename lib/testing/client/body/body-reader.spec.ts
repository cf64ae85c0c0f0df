import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { formatSse } from '../../../format/sse.format.js';
import { readerFor } from './body-reader.js';
import type { EventFields } from './streamed-event.js';

/** What is read when the body comes in pieces of such a size. */
function readBy(size: number, contentType: string, body: string, json = true): EventFields[] {
  const reader = readerFor(contentType, json);
  const bytes = Buffer.from(body);
  const events: EventFields[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    events.push(...reader.read(bytes.subarray(at, at + size)));
  }
  return [...events, ...reader.end()];
}

const SIZES = [1, 2, 3, 7, 1_000];

const CASES: readonly [name: string, contentType: string, body: string, events: EventFields[]][] = [
  ['an event of data alone', 'text/event-stream', 'data: one\n\n', [{ data: 'one' }]],
  [
    'all fields of an event',
    'text/event-stream; charset=utf-8',
    'event: price\nid: 7\nretry: 10\n: hint\ndata: {"eur":4}\n\n',
    [{ data: { eur: 4 }, id: '7', type: 'price', retry: 10, comment: 'hint' }],
  ],
  ['data of several lines', 'text/event-stream', 'data: a\ndata:b\ndata\n\n', [{ data: 'a\nb\n' }]],
  [
    'every end of line there is',
    'text/event-stream',
    'data: a\r\n\r\ndata: b\r\rdata: c\n\n',
    [{ data: 'a' }, { data: 'b' }, { data: 'c' }],
  ],
  ['a byte order mark', 'text/event-stream', '\ufeffdata: a\n\n', [{ data: 'a' }]],
  ['a heartbeat', 'text/event-stream', ':\n\n', [{ comment: '' }]],
  ['an id alone', 'text/event-stream', 'id: 8\n\n', [{ id: '8' }]],
  [
    'a position',
    'text/event-stream',
    'event: position\nid: 8\ndata: {}\n\n',
    [{ type: 'position', id: '8', data: {} }],
  ],
  [
    'a heartbeat of one line before an event',
    'text/event-stream',
    ':\n:\nid: 8\ndata: a\n\n:\n',
    [{ comment: '' }, { comment: '' }, { id: '8', data: 'a' }, { comment: '' }],
  ],
  ['an empty comment of an event', 'text/event-stream', ': \ndata: a\n\n', [{ comment: '', data: 'a' }]],
  [
    'comments and times without an empty line after them, before an event and at the end',
    'text/event-stream',
    ': hint\ndata: a\n\n: bye\nretry: 5\n',
    [
      { comment: 'hint', data: 'a' },
      { comment: 'bye', retry: 5 },
    ],
  ],
  ['unknown and invalid fields', 'text/event-stream', 'x: y\nid: a\0b\nretry: 1s\ndata: a\n\n', [{ data: 'a' }]],
  [
    'lines of JSON',
    'application/x-ndjson',
    '{"i":1}\n\n"ü"\n3',
    [{ data: { i: 1 } }, { comment: '' }, { data: 'ü' }, { data: 3 }],
  ],
  ['lines of JSON, by another name', 'application/jsonl', 'null\r\n', [{ data: null }]],
  [
    'a JSON text sequence, with heartbeats',
    'application/json-seq',
    '\x1e{"i":1}\n\x1e\x1e[2]\n\x1e',
    [{ data: { i: 1 } }, { data: [2] }],
  ],
  [
    'a JSON array',
    'application/json',
    '[{"a":"],[\\"\\\\"},\n[1,[2]],\n"x",3,null\n]\n',
    [{ data: { a: '],["\\' } }, { data: [1, [2]] }, { data: 'x' }, { data: 3 }, { data: null }],
  ],
  ['an empty JSON array', 'application/json', '\n[\n]', []],
  [
    'a JSON value that is no array',
    'application/json; charset=utf-8',
    '{"statusCode":404}',
    [{ data: { statusCode: 404 } }],
  ],
  ['no body', 'application/json', '', []],
];

describe.each(SIZES)('a body reader that receives pieces of %i bytes', (size) => {
  it.each(CASES)('reads %s', (_name, contentType, body, events) => {
    expect(readBy(size, contentType, body)).toEqual(events);
  });
});

it('a body reader returns a value of an array as soon as the comma after it is read', () => {
  const reader = readerFor('application/json', true);
  expect(reader.read(Buffer.from('[1'))).toEqual([]);
  expect(reader.read(Buffer.from(',"a'))).toEqual([{ data: 1 }]);
});

it('a body reader returns a JSON text of a sequence as soon as its line feed is read', () => {
  expect(readerFor('application/json-seq', true).read(Buffer.from('\x1e1\n'))).toEqual([{ data: 1 }]);
});

it('a body reader returns an event whose lines end with CR as soon as the last CR is read', () => {
  const reader = readerFor('text/event-stream', true);
  expect(reader.read(Buffer.from('data: a\r\r'))).toEqual([{ data: 'a' }]);
  expect(reader.read(Buffer.from('\ndata: b\n\n'))).toEqual([{ data: 'b' }]);
});

it('a body reader without json returns SSE data as text', () => {
  expect(readBy(5, 'text/event-stream', 'data: 1\n\ndata: {}\n\n', false)).toEqual([{ data: '1' }, { data: '{}' }]);
});

it('a body reader returns text in the chunks that were received, and never half a character', () => {
  const reader = readerFor('text/csv', true);
  const [first = 0, ...rest] = Buffer.from('ü,a');
  expect(reader.read(Buffer.from([first]))).toEqual([]);
  expect(reader.read(Buffer.from(rest))).toEqual([{ data: 'ü,a' }]);
  expect(reader.end()).toEqual([]);
});

it.each(['application/octet-stream', 'image/png', null])('a body reader of %s returns bytes', (contentType) => {
  expect(readerFor(contentType, true).read(Buffer.from([0, 255]))).toEqual([{ data: Buffer.from([0, 255]) }]);
});

it.each([
  ['text/event-stream', 'data: a\n', 'The body ends within an event: data: a'],
  ['text/event-stream', 'data: a', 'The body ends within an event: data: a'],
  ['application/x-ndjson', '1\n{"a":\n', 'Line 2 of the body is not JSON: {"a":'],
  ['application/x-ndjson', '{"a"', 'Line 1 of the body is not JSON: {"a"'],
  ['application/json-seq', '1\n', 'A JSON text has no record separator before it: 1'],
  ['application/json', '[1,2', 'The body ends before the end of its JSON array: 2'],
  ['application/json', '[1,]', 'Value 2 of the body is not JSON: '],
  ['application/json', '[,1]', 'Value 1 of the body is not JSON: '],
  ['application/json', '[1}', 'Value 1 of the body is not JSON: 1}'],
  ['application/json', '[}', 'Value 1 of the body is not JSON: }'],
  ['application/json', '[1] 2', 'The body continues after the end of its JSON array: 2'],
  ['application/json', '{"a"', 'The body is not JSON: {"a"'],
  [
    'application/x-ndjson',
    `"${'x'.repeat(300)}`,
    `Line 1 of the body is not JSON: "${'x'.repeat(199)}… (301 characters)`,
  ],
])('a body reader of %s rejects %j', (contentType, body, message) => {
  expect(() => readBy(3, contentType, body)).toThrow(message);
});

const text = fc.string({ unit: fc.constantFrom('a', ':', ' ', '\n', '\r', '\r\n', 'ü', '{') });
const oneLine = text.map((value) => value.replace(/[\r\n]/g, ''));
const event = fc.record(
  { data: text, id: oneLine, type: oneLine.filter((type) => type !== '') },
  { requiredKeys: ['data'] },
);

it('a body reader reads the SSE of this package as eventsource-parser does, wherever the network splits it', () => {
  fc.assert(
    fc.property(fc.array(event), fc.constantFrom('\n', '\r\n'), fc.integer({ min: 1, max: 9 }), (sent, eol, size) => {
      const body = sent.map(formatSse).join('').replaceAll('\n', eol);
      const parsed: EventFields[] = [];
      const parser = createParser({
        onEvent: ({ data, id, event: type }) =>
          parsed.push({ data, ...(id === undefined ? {} : { id }), ...(type === undefined ? {} : { type }) }),
      });
      // All in one, and without lone CRs: with a CR at the end of a piece, that parser waits for what follows.
      parser.feed(body);
      parser.reset({ consume: true });
      expect(readBy(size, 'text/event-stream', body, false)).toEqual(parsed);
    }),
  );
});
