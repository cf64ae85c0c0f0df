import { StreamError } from '../util/errors.js';
import { defineFormat } from './define-format.js';

const csv = { name: 'csv', mediaTypes: ['text/csv'], encode: (row: string[]) => `${row.join(',')}\r\n` };

/** As JavaScript callers may do. */
function define(format: unknown): unknown {
  return defineFormat(format as Parameters<typeof defineFormat>[0]);
}

describe('defineFormat()', () => {
  it('creates a format that is frozen', () => {
    const format = defineFormat({ ...csv, parameters: 'charset=utf-8', open: 'id\r\n', close: '' });

    expect(format).toMatchObject({ name: 'csv', mediaTypes: ['text/csv'], parameters: 'charset=utf-8', close: '' });
    expect(format.encode(['a', 'b'])).toBe('a,b\r\n');
    expect(Object.isFrozen(format)).toBe(true);
  });

  it.each([
    [
      'an unknown field',
      { ...csv, mediaType: 'text/csv' },
      'defineFormat("csv"): unknown field "mediaType". Known: name,',
    ],
    ['no name', { ...csv, name: undefined }, 'name must be a string that is not empty'],
    ['an empty name', { ...csv, name: '' }, 'name must be a string that is not empty'],
    ['no media types', { ...csv, mediaTypes: [] }, 'mediaTypes must list at least one media type'],
    ['media types that are not a list', { ...csv, mediaTypes: 'text/csv' }, 'mediaTypes must list'],
    ['a media type without a slash', { ...csv, mediaTypes: ['csv'] }, 'mediaTypes must list'],
    ['a media type with parameters', { ...csv, mediaTypes: ['text/csv; header=present'] }, 'mediaTypes must list'],
    ['a media type with a line break', { ...csv, mediaTypes: ['text/csv\r\nX: y'] }, 'mediaTypes must list'],
    ['a media type that is no string', { ...csv, mediaTypes: [7] }, 'mediaTypes must list'],
    ['no encode', { ...csv, encode: undefined }, 'encode must be a function'],
    ['an error that is no function', { ...csv, error: 'no' }, 'error must be a function'],
    ['an open that is no string', { ...csv, open: 1 }, 'open must be a string'],
    ['a separator that is no string', { ...csv, separator: Buffer.from(',') }, 'separator must be a string'],
    ['a close that is no string', { ...csv, close: null }, 'close must be a string'],
    ['a heartbeat that is no string', { ...csv, heartbeat: true }, 'heartbeat must be a string'],
    ['parameters that are no string', { ...csv, parameters: {} }, 'parameters must be a string'],
    ['parameters that would be another header', { ...csv, parameters: 'a=b\r\nX: y' }, 'parameters must be'],
    ['fields that are no boolean', { ...csv, fields: 'yes' }, 'fields must be a boolean'],
    ['a heartbeat that is true', { ...csv, heartbeat: true }, 'heartbeat must be a string, a function or false'],
    ['headers that are a list', { ...csv, headers: [] }, 'headers must be an object of names and values'],
    [
      'a header with an invalid name',
      { ...csv, headers: { 'a b': 'c' } },
      'headers must have names and values that HTTP allows',
    ],
    [
      'a header with a line break',
      { ...csv, headers: { a: 'b\r\nX: y' } },
      'headers must have names and values that HTTP',
    ],
    [
      'a header that is no string',
      { ...csv, headers: { a: 1 } },
      'headers must have names and values that HTTP allows',
    ],
    [
      'a header that frames the body',
      { ...csv, headers: { 'Content-Length': '1' } },
      'headers cannot have "Content-Length"',
    ],
    ['a content type', { ...csv, headers: { 'content-type': 'text/csv' } }, 'headers cannot have "content-type"'],
    ['a status that is an error', { ...csv, status: 404 }, 'status must be a status from 200 to 299 that has a body'],
    ['a status without a body', { ...csv, status: 204 }, 'status must be a status from 200 to 299 that has a body'],
    ['truncate that is no boolean', { ...csv, truncate: 'no' }, 'truncate must be a boolean'],
    ['an end by a record that there is not', { ...csv, truncate: false }, '"truncate: false" needs an error record'],
    ['a flush that does not exist', { ...csv, flush: 'never' }, 'flush must be "auto", "each" or { bytes, ms }'],
    [
      'a flush with an unknown field',
      { ...csv, flush: { bytes: 1, ms: 1, trailing: true } },
      'flush must be "auto", "each" or { bytes, ms }',
    ],
    ['messages that are no format', { ...csv, messages: csv }, 'messages must be a format of defineFormat()'],
    [
      'messages that have messages themselves',
      { ...csv, messages: defineFormat({ ...csv, messages: defineFormat(csv) }) },
      'messages must be a format of defineFormat() that has no "messages" itself',
    ],
    ['perStream that is no function', { ...csv, perStream: {} }, 'perStream must be a function'],
    ['perStream that returns nothing', { ...csv, perStream: () => undefined }, 'perStream must return an object'],
    [
      'an unknown field of a state',
      { ...csv, perStream: () => ({ enocde: () => '' }) },
      'unknown field "perStream().enocde". Known: encode, open, close, error',
    ],
    [
      'a close of a state that is no function',
      { ...csv, perStream: () => ({ close: '' }) },
      'perStream().close must be a',
    ],
    [
      'no encode, neither of its own nor of its state',
      { ...csv, encode: undefined, perStream: () => ({ close: () => '' }) },
      'encode must be a function, in the format or in the object that perStream returns',
    ],
  ])('refuses %s', (_what, format, message) => {
    expect(() => define(format)).toThrow(StreamError);
    expect(() => define(format)).toThrow(expect.objectContaining({ code: 'invalid-format' }));
    expect(() => define(format)).toThrow(message);
  });

  it('accepts a state that is an instance of a class, with fields of its own', () => {
    class Counter {
      private count = 0;

      encode(value: unknown): string {
        return `${this.count++} ${String(value)}\n`;
      }
    }
    const { encode, ...others } = csv;
    const format = defineFormat({ ...others, headers: { 'X-Rows': 'yes' }, perStream: () => new Counter() });
    const [one, other] = [format.perStream?.(), format.perStream?.()];

    expect([one?.encode?.('a'), one?.encode?.('b'), other?.encode?.('c')]).toEqual(['0 a\n', '1 b\n', '0 c\n']);
    expect(format.headers).toEqual({ 'x-rows': 'yes' });
    expect(typeof encode).toBe('function');
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a string', 'csv'],
  ])('refuses %s', (_what, format) => {
    expect(() => define(format)).toThrow(expect.objectContaining({ code: 'invalid-format' }));
  });
});
