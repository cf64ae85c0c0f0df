import { eventIn } from '../event/event.js';
import { StreamError } from '../util/errors.js';
import { formatSse, sseFormat } from './sse.format.js';

/** The wire, written with LF as `\n` and the empty line that ends an event as the last `\n`. */
const WIRE: readonly (readonly [what: string, value: unknown, wire: string])[] = [
  ['a string', 'hello', 'data: hello\n\n'],
  ['an empty string', '', 'data: \n\n'],
  ['a string that begins with a space', ' x', 'data:  x\n\n'],
  ['a string that begins with a colon', ':x', 'data: :x\n\n'],
  ['lines that end in LF', 'a\nb', 'data: a\ndata: b\n\n'],
  ['lines that end in CR', 'a\rb', 'data: a\ndata: b\n\n'],
  ['lines that end in CRLF', 'a\r\nb', 'data: a\ndata: b\n\n'],
  ['LF before CR, which are two ends of line', 'a\n\rb', 'data: a\ndata: \ndata: b\n\n'],
  ['a line break at the end', 'a\n', 'data: a\ndata: \n\n'],
  ['line breaks only', '\r\n\r\n', 'data: \ndata: \ndata: \n\n'],
  ['what looks like a field after a line break', 'a\nevent: x\rid: y', 'data: a\ndata: event: x\ndata: id: y\n\n'],
  ['an injected event', 'a\n\ndata: b\n\n', 'data: a\ndata: \ndata: data: b\ndata: \ndata: \n\n'],
  ['line separators of Unicode, which end no line here', 'a\u2028b\u2029c\u0085d', 'data: a\u2028b\u2029c\u0085d\n\n'],
  ['NUL in data', 'a\0b', 'data: a\0b\n\n'],
  ['emoji', '👋🏽', 'data: 👋🏽\n\n'],
  ['a number', 4.5, 'data: 4.5\n\n'],
  ['zero', 0, 'data: 0\n\n'],
  ['false', false, 'data: false\n\n'],
  ['null', null, 'data: null\n\n'],
  ['an array', ['data', 1], 'data: ["data",1]\n\n'],
  ['an object', { price: 1 }, 'data: {"price":1}\n\n'],
  ['an empty object', {}, 'data: {}\n\n'],
  ['an object with line breaks in its strings', { a: 'x\ny\r' }, 'data: {"a":"x\\ny\\r"}\n\n'],
  ['an object with another key than those of an event', { data: 1, extra: 2 }, 'data: {"data":1,"extra":2}\n\n'],
  ['an object with only an id', { id: '7' }, 'data: {"id":"7"}\n\n'],
  ['an object with only a type', { type: 'x' }, 'data: {"type":"x"}\n\n'],
  ['an object with id and type', { id: '7', type: 'x' }, 'data: {"id":"7","type":"x"}\n\n'],
  ['a Date', new Date(0), 'data: "1970-01-01T00:00:00.000Z"\n\n'],
  ['something with toJSON', { toJSON: () => ({ a: 1 }) }, 'data: {"a":1}\n\n'],
  ['a Buffer', Buffer.from('hi'), 'data: aGk=\n\n'],
  ['an ArrayBuffer', new Uint8Array([255, 0]).buffer, 'data: /wA=\n\n'],
  ['a view of part of a buffer', new Uint8Array([1, 2, 3, 4]).subarray(1, 3), 'data: AgM=\n\n'],
  ['a Uint16Array', new Uint16Array([0x4142]), 'data: QkE=\n\n'],
  ['a DataView', new DataView(new Uint8Array([65]).buffer), 'data: QQ==\n\n'],
  ['an event with data', { data: 'x' }, 'data: x\n\n'],
  ['an event with an object', { data: { data: 1 } }, 'data: {"data":1}\n\n'],
  ['an event with null', { data: null }, 'data: null\n\n'],
  ['an event with binary', { data: Buffer.from('hi') }, 'data: aGk=\n\n'],
  ['an event with data of several lines', { data: 'a\r\nb' }, 'data: a\ndata: b\n\n'],
  [
    'an event with everything',
    { data: 1, id: '7', type: 't', retry: 9, comment: 'c' },
    'event: t\nid: 7\nretry: 9\n: c\ndata: 1\n\n',
  ],
  ['an event with an empty id, which forgets the last one', { data: 1, id: '' }, 'id: \ndata: 1\n\n'],
  ['an event with an empty type, which is the default one', { data: 1, type: '' }, 'data: 1\n\n'],
  ['an id with a colon and spaces', { data: 1, id: ' a: b ' }, 'id:  a: b \ndata: 1\n\n'],
  ['an id outside of ASCII', { data: 1, id: 'größe-✓' }, 'id: größe-✓\ndata: 1\n\n'],
  ['an id that is a number, as JavaScript callers have it', { data: 1, id: 7 }, 'id: 7\ndata: 1\n\n'],
  ['NUL in a type', { data: 1, type: 'a\0b' }, 'event: a\0b\ndata: 1\n\n'],
  ['a comment alone', { comment: 'hi' }, ': hi\n\n'],
  ['a comment of several lines', { comment: 'a\r\nb\rc\nd' }, ': a\n: b\n: c\n: d\n\n'],
  ['an empty comment', { comment: '' }, ': \n\n'],
  ['retry alone', { retry: 1500 }, 'retry: 1500\n\n'],
  ['retry of zero', { retry: 0 }, 'retry: 0\n\n'],
  ['retry that is a string of digits', { data: 1, retry: '3000' }, 'retry: 3000\ndata: 1\n\n'],
  ['a type that is a number, such as one of an enum', { data: 1, type: 0 }, 'event: 0\ndata: 1\n\n'],
  ['an id that is a BigInt, such as one of a database', { data: 1, id: 7n }, 'id: 7\ndata: 1\n\n'],
  ['an event without any field', { data: undefined }, ''],
  ['an event with a key that has no value', { data: 'x', foo: undefined }, 'data: x\n\n'],
  [
    'fields that are undefined or null',
    { data: 1, id: undefined, type: null, retry: null, comment: null },
    'data: 1\n\n',
  ],
];

/** A chunk as a route that is SSE alone sends it. */
function wireOf(chunk: unknown): string | Uint8Array {
  return sseFormat.encode(eventIn(chunk, 'shape') ?? { data: chunk });
}

describe('the sse format', () => {
  it.each(WIRE)('sends %s', (_what, value, wire) => {
    expect(wireOf(value)).toBe(wire);
  });

  it.each([
    ['LF in a type', { data: 1, type: 'a\nb' }],
    ['CR in a type', { data: 1, type: 'a\rb' }],
    ['a type that is a boolean', { data: 1, type: true }],
    ['LF in an id', { data: 1, id: 'a\nb' }],
    ['CR in an id', { data: 1, id: 'a\r' }],
    ['NUL in an id', { data: 1, id: 'a\0b' }],
    ['an id that is an object', { data: 1, id: {} }],
    ['a negative retry', { retry: -1 }],
    ['a fractional retry', { retry: 1.5 }],
    ['a retry with more than digits', { retry: '10ms' }],
    ['an empty retry', { retry: '' }],
    ['a retry that is an object', { retry: {} }],
    ['NaN as retry', { retry: Number.NaN }],
    ['an infinite retry', { retry: Number.POSITIVE_INFINITY }],
    ['a retry that would be written with an exponent', { retry: 1e21 }],
  ])('refuses %s', (_what, value) => {
    expect(() => wireOf(value)).toThrow(expect.objectContaining({ code: 'invalid-event' }));
    expect(() => wireOf(value)).toThrow(StreamError);
  });

  it.each([
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
  ])('refuses %s, which JSON would leave out', (_what, value) => {
    expect(() => wireOf(value)).toThrow(expect.objectContaining({ code: 'not-serializable' }));
  });

  it('refuses a BigInt and a cycle', () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;

    expect(() => wireOf({ n: 1n })).toThrow('$.n is a BigInt');
    expect(() => wireOf(cycle)).toThrow(/circular/i);
  });

  it('reports what is wrong with an event', () => {
    expect(() => formatSse({ data: 1, id: 'a\nb' })).toThrow(
      'The id of an event is a string without CR, LF or NUL, not "a\\nb"',
    );
  });

  it('has heartbeats that are comments, without an empty line after the stream has sent an id', () => {
    const { heartbeat } = sseFormat;

    expect([false, true].map((hasIds) => typeof heartbeat === 'function' && heartbeat(hasIds))).toEqual([
      ':\n\n',
      ':\n',
    ]);
  });

  it('writes a comment or a retry without data, and without an empty line after the stream has sent an id', () => {
    const alone = [{ comment: 'a\nb' }, { retry: 5 }, { retry: 5, comment: 'c', type: '' }];
    const events = [
      { type: 't', retry: 5 },
      { data: 1, comment: 'c' },
      { id: '1', retry: 5 },
    ];

    expect(alone.map((event) => sseFormat.encode(event, true))).toEqual([
      ': a\n: b\n',
      'retry: 5\n',
      'retry: 5\n: c\n',
    ]);
    expect(
      [...alone, ...events]
        .map((event) => sseFormat.encode(event, false))
        .every((text) => String(text).endsWith('\n\n')),
    ).toBe(true);
    expect(events.map((event) => sseFormat.encode(event, true))).toEqual(
      events.map((event) => sseFormat.encode(event)),
    );
  });

  it('reports an error in an event of the given type, whose data is JSON', () => {
    const body = { statusCode: 500, message: 'Internal server error' };

    expect(sseFormat.error?.(body, 'failure', new Error('secret'))).toBe(
      'event: failure\ndata: {"statusCode":500,"message":"Internal server error"}\n\n',
    );
  });
});

describe('formatSse()', () => {
  it('returns the text of an event', () => {
    expect(formatSse({ type: 'price', id: '7', data: { eur: 4.2 } })).toBe(
      'event: price\nid: 7\ndata: {"eur":4.2}\n\n',
    );
  });

  it('returns an event of type position for an id without data, because some parsers fail at a record without data', () => {
    expect(formatSse({ id: '7' })).toBe('event: position\nid: 7\ndata: {}\n\n');
    expect(formatSse({ id: '7', type: '', retry: 5, comment: 'c' })).toBe(
      'event: position\nid: 7\nretry: 5\n: c\ndata: {}\n\n',
    );
    expect(formatSse({ id: '7', type: 'mine' })).toBe('event: mine\nid: 7\n\n');
  });

  it('returns only an empty line for an event without fields', () => {
    expect(formatSse({})).toBe('\n');
  });
});
