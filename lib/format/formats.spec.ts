import { ALL_FORMATS, FORMATS, type StreamFormatName } from './formats.js';

const cycle: { self?: unknown } = {};
cycle.self = cycle;

const JSON_TEXTS: readonly (readonly [what: string, value: unknown, text: string])[] = [
  ['an object', { a: 1, b: [true, null] }, '{"a":1,"b":[true,null]}'],
  ['an array', [1, 2], '[1,2]'],
  ['a string', 'a"b', '"a\\"b"'],
  ['a string with line breaks', 'a\r\nb', '"a\\r\\nb"'],
  ['an empty string', '', '""'],
  ['a lone surrogate', '\ud800', '"\\ud800"'],
  ['a number', -0.5, '-0.5'],
  ['NaN, as JSON has it', Number.NaN, 'null'],
  ['a boolean', false, 'false'],
  ['null', null, 'null'],
  ['a Date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ['a Buffer', Buffer.from('hi'), '"aGk="'],
  ['an ArrayBuffer', new Uint8Array([255]).buffer, '"/w=="'],
  ['a view of part of a buffer', new Uint8Array([1, 2, 3]).subarray(1, 2), '"Ag=="'],
];

const JSON_FORMATS: readonly (readonly [name: StreamFormatName, wire: (text: string) => string])[] = [
  ['ndjson', (text) => `${text}\n`],
  ['jsonl', (text) => `${text}\n`],
  ['json-seq', (text) => `\x1e${text}\n`],
  ['json', (text) => text],
];

describe.each(JSON_FORMATS)('the %s format', (name, wire) => {
  it.each(JSON_TEXTS)('sends %s', (_what, value, text) => {
    expect(FORMATS[name].encode(value)).toBe(wire(text));
  });

  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['something whose toJSON gives nothing', { toJSON: () => undefined }],
  ])('refuses %s', (_what, value) => {
    expect(() => FORMATS[name].encode(value)).toThrow(expect.objectContaining({ code: 'not-serializable' }));
  });

  it('refuses a BigInt and a cycle', () => {
    expect(() => FORMATS[name].encode(1n)).toThrow('$ is a BigInt');
    expect(() => FORMATS[name].encode({ deep: { n: 1n } })).toThrow('$.deep.n is a BigInt');
    expect(() => FORMATS[name].encode(cycle)).toThrow(/circular/i);
  });
});

describe.each(['text', 'bytes'] as const)('the %s format', (name) => {
  it.each([
    ['a string', 'añ\r\nb', 'añ\r\nb'],
    ['an empty string', '', ''],
    ['a number', 1.5, '1.5'],
    ['a boolean', true, 'true'],
    ['a BigInt', 12345678901234567890n, '12345678901234567890'],
    ['an object as a line of JSON', { a: 1 }, '{"a":1}\n'],
    ['an array as a line of JSON', [1], '[1]\n'],
    ['null as a line of JSON', null, 'null\n'],
  ])('sends %s', (_what, value, wire) => {
    expect(FORMATS[name].encode(value)).toBe(wire);
  });

  it.each([
    ['a Buffer', Buffer.from([0, 255, 13, 10])],
    ['an ArrayBuffer', new Uint8Array([0, 255, 13, 10]).buffer],
    ['a SharedArrayBuffer', shared(0, 255, 13, 10)],
    ['a view of part of a buffer', new Uint8Array([9, 0, 255, 13, 10, 9]).subarray(1, 5)],
    ['a DataView', new DataView(new Uint8Array([9, 0, 255, 13, 10]).buffer, 1)],
    ['a Uint16Array', new Uint16Array([0xff00, 0x0a0d])],
  ])('sends the bytes of %s unchanged', (_what, value) => {
    expect([...(FORMATS[name].encode(value) as Uint8Array)]).toEqual([0, 255, 13, 10]);
  });

  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
  ])('refuses %s', (_what, value) => {
    expect(() => FORMATS[name].encode(value)).toThrow(expect.objectContaining({ code: 'not-serializable' }));
  });

  it('has neither heartbeats nor error records, because clients would read them as content', () => {
    expect(FORMATS[name]).not.toHaveProperty('heartbeat');
    expect(FORMATS[name]).not.toHaveProperty('error');
  });
});

function shared(...bytes: number[]): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

describe('the formats', () => {
  it.each([
    ['ndjson', '{"error":{"statusCode":500,"message":"No"}}\n'],
    ['json-seq', '\x1e{"error":{"statusCode":500,"message":"No"}}\n'],
    ['sse', 'event: error\ndata: {"statusCode":500,"message":"No"}\n\n'],
    ['json', undefined],
    ['text', undefined],
    ['bytes', undefined],
  ] as const)('write an error as a record of %s: %j', (name, record) => {
    expect(FORMATS[name].error?.({ statusCode: 500, message: 'No' }, 'error', new Error('secret'))).toBe(record);
  });

  it.each([
    ['ndjson', '\n'],
    ['json-seq', '\x1e'],
    ['json', '\n'],
  ] as const)('have heartbeats that a parser of %s ignores', (name, heartbeat) => {
    expect(FORMATS[name].heartbeat).toBe(heartbeat);
  });

  it('have no media type in common', () => {
    const types = ALL_FORMATS.flatMap(({ mediaTypes }) => mediaTypes);

    expect(new Set(types).size).toBe(types.length);
  });

  it('encode each value separately, and keep no state between values', () => {
    for (const format of ALL_FORMATS) {
      expect(format.encode({ a: 1 })).toEqual(format.encode({ a: 1 }));
    }
  });
});
