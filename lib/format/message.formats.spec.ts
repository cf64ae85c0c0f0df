import * as ws from 'ws';
import { HubEvent } from '../event/hub-event.js';
import { defineFormat } from './define-format.js';
import { encodeHubEvent } from './encode-hub-event.js';
import type { StreamFormat } from './format.js';
import { FORMATS } from './formats.js';
import { binaryFrame, textFrame } from './frame.js';
import { SerializedJson } from './json-text.js';
import { isCustom, messageFormat } from './message.formats.js';

/** What a frame says: `text …`, `binary …`, or nothing. */
function said(encoded: string | Uint8Array | undefined): string | undefined {
  if (encoded === undefined || encoded.length === 0) {
    return encoded === undefined ? undefined : 'nothing';
  }
  const frame = Buffer.from(encoded as Uint8Array);
  const length = frame.readUInt8(1);
  const payload = frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10);
  expect([0x81, 0x82]).toContain(frame[0]);
  return `${frame[0] === 0x81 ? 'text' : 'binary'} ${payload.toString()}`;
}

describe('A frame', () => {
  it.each([0, 1, 125, 126, 65_535, 65_536, 100_000])(
    'of %i bytes is identical to the frame that ws creates',
    (size) => {
      const payload = Buffer.alloc(size, 'x');
      const options = { fin: true, rsv1: false, mask: false, readOnly: true };

      // Not declared in the types, but exported.
      const { frame } = (ws as unknown as { Sender: { frame(data: Buffer, options: object): Buffer[] } }).Sender;

      expect(binaryFrame(payload)).toEqual(Buffer.concat(frame(payload, { ...options, opcode: 2 })));
      expect(textFrame(payload.toString())).toEqual(Buffer.concat(frame(payload, { ...options, opcode: 1 })));
    },
  );

  it('counts bytes, not characters', () => {
    expect(textFrame('ü😀')).toEqual(Buffer.from([0x81, 6, ...Buffer.from('ü😀')]));
  });
});

describe('A message', () => {
  const BYTES = Buffer.from([0xff, 0x00]);

  it.each<[string, keyof typeof FORMATS | undefined, unknown, string]>([
    ['a string, without a format', undefined, 'a', 'text a'],
    ['an empty string', undefined, '', 'text '],
    ['bytes, without a format', undefined, Buffer.from('a'), 'binary a'],
    ['an object, without a format', undefined, { a: 1 }, 'text {"a":1}'],
    ['a string of text', 'text', 'a', 'text a'],
    ['a number of text', 'text', 7, 'text 7'],
    ['an object of text', 'text', { a: 1 }, 'text {"a":1}'],
    ['UTF-8 of text', 'text', Buffer.from('ü'), 'text ü'],
    ['bytes of text that are no UTF-8', 'text', BYTES, `binary ${BYTES.toString()}`],
    ['bytes', 'bytes', BYTES, `binary ${BYTES.toString()}`],
    ['a string of bytes', 'bytes', 'a', 'binary a'],
    ['an object of bytes', 'bytes', { a: 1 }, 'binary {"a":1}'],
    ['an object of NDJSON', 'ndjson', { a: 1 }, 'text {"a":1}'],
    ['a string of NDJSON', 'ndjson', 'a', 'text "a"'],
    ['an object of JSON lines', 'jsonl', [1], 'text [1]'],
    ['an object of a JSON text sequence', 'json-seq', { a: 1 }, 'text {"a":1}'],
    ['an element of a JSON array', 'json', { a: 1 }, 'text {"a":1}'],
    ['a string of SSE', 'sse', 'a\nb', 'text a\nb'],
    ['an object of SSE', 'sse', { a: 1 }, 'text {"a":1}'],
    ['bytes of SSE', 'sse', Buffer.from('hi'), 'text "aGk="'],
    ['JSON text that is there already', 'sse', new SerializedJson('{"a": 1}'), 'text {"a": 1}'],
  ])('is %s', (_what, name, value, message) => {
    expect(said(messageFormat(name && FORMATS[name], false).encode(value))).toBe(message);
  });

  it.each<[string, unknown, string]>([
    ['data alone', { data: { a: 1 } }, 'text {"data":{"a":1}}'],
    ['a string', { data: 'a' }, 'text {"data":"a"}'],
    ['bytes', { data: Buffer.from('hi') }, 'text {"data":"aGk="}'],
    ['a type and a retry as JavaScript callers have them', { type: 4, retry: '50' }, 'text {"type":"4","retry":50}'],
    ['an event', { id: '7', type: 'price', data: 4.2 }, 'text {"id":"7","type":"price","data":4.2}'],
    ['an event without a type', { data: null }, 'text {"data":null}'],
    ['a time to wait', { retry: 3000 }, 'text {"retry":3000}'],
    ['a comment, which is nothing', { comment: 'c' }, 'nothing'],
    ['an event of a hub', new HubEvent({ id: 'a.1', type: 't', data: [1] }), 'text {"id":"a.1","type":"t","data":[1]}'],
    ['JSON text that is there', { id: '1', data: new SerializedJson('{"a": 1}') }, 'text {"id":"1","data":{"a": 1}}'],
  ])('with the fields of an event is %s', (_what, value, message) => {
    expect(said(messageFormat(FORMATS.ndjson, true).encode(value))).toBe(message);
  });

  it.each<[string, (format: StreamFormat) => string | Uint8Array | undefined, string, string]>([
    [
      'a reset',
      (format) =>
        encodeHubEvent(HubEvent.of({ type: 'reset', data: { reason: 'evicted', oldest: null } }, 'a.1'), format),
      '{"reset":{"reason":"evicted","oldest":null}}',
      '{"id":"a.1","type":"reset","data":{"reason":"evicted","oldest":null}}',
    ],
    [
      'dropped chunks',
      (format) => encodeHubEvent(HubEvent.of({ type: 'lagged', data: { dropped: 3 } }, 'a.1'), format),
      '{"lagged":{"dropped":3}}',
      '{"id":"a.1","type":"lagged","data":{"dropped":3}}',
    ],
    [
      'an error',
      (format) => format.error?.({ statusCode: 500, message: 'no' }, 'oops', new Error('secret')),
      '{"error":{"statusCode":500,"message":"no"}}',
      '{"type":"oops","data":{"statusCode":500,"message":"no"}}',
    ],
  ])('that reports %s is a separate record', (_what, encode, data, event) => {
    for (const name of [undefined, 'sse', 'ndjson', 'jsonl', 'json-seq', 'json'] as const) {
      expect(said(encode(messageFormat(name && FORMATS[name], false)))).toBe(`text ${data}`);
    }
    for (const name of ['text', 'bytes'] as const) {
      expect(said(encode(messageFormat(FORMATS[name], false)) ?? '')).toBe('nothing');
    }
    expect(said(encode(messageFormat(FORMATS.sse, true)))).toBe(`text ${event}`);
  });

  it('contains a position in an event of the type position', () => {
    const format = messageFormat(FORMATS.sse, true);
    const position = 'text {"id":"a.1","type":"position","data":{}}';

    expect([format.position?.('a.1'), format.encode({ id: 'a.1', comment: 'x' })].map(said)).toEqual([
      position,
      position,
    ]);
    expect(messageFormat(FORMATS.sse, false).position).toBeUndefined();
  });

  it('of a user-defined format is the encoded value, without a separator', () => {
    const csv = defineFormat({
      name: 'csv',
      mediaTypes: ['text/csv'],
      open: 'id\r\n',
      separator: ';',
      close: 'end',
      encode: (value: unknown) => (value === '' ? '' : value === 0 ? Buffer.from([1]) : `${String(value)}\r\n`),
      lagged: (dropped, id) => `# ${dropped} after ${id}`,
      error: (body) => `! ${String(body.message)}`,
    });
    const format = messageFormat(csv, false);

    expect(isCustom(csv)).toBe(true);
    expect(['a', 0, ''].map((each) => said(format.encode(each)))).toEqual(['text a\r\n', 'binary \x01', 'nothing']);
    expect([format.open, format.close].map(said)).toEqual(['text id\r\n', 'text end']);
    expect(format.separator).toBeUndefined();
    expect(said(format.lagged?.(2, 'a.1'))).toBe('text # 2 after a.1');
    expect(said(format.error?.({ statusCode: 500, message: 'no' }, 'error', new Error('secret')))).toBe('text ! no');
  });

  it('has one format object for all routes with the same format, so that hubs encode once for all of them', () => {
    expect(messageFormat(FORMATS.sse, false)).toBe(messageFormat(FORMATS.sse, false));
    expect(messageFormat(FORMATS.sse, true)).toBe(messageFormat(FORMATS.sse, true));
    expect(messageFormat(undefined, true)).toBe(messageFormat(undefined, true));
  });
});
