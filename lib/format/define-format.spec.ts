import { StreamError } from '../errors.js';
import { defineFormat } from './define-format.js';

const csv = { name: 'csv', mediaTypes: ['text/csv'], encode: (row: string[]) => `${row.join(',')}\r\n` };

/** As JavaScript callers may do. */
function define(format: unknown): unknown {
  return defineFormat(format as Parameters<typeof defineFormat>[0]);
}

describe('defineFormat()', () => {
  it('makes a format that cannot be changed any more', () => {
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
  ])('refuses %s', (_what, format, message) => {
    expect(() => define(format)).toThrow(StreamError);
    expect(() => define(format)).toThrow(expect.objectContaining({ code: 'invalid-option' }));
    expect(() => define(format)).toThrow(message);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a string', 'csv'],
  ])('refuses %s', (_what, format) => {
    expect(() => define(format)).toThrow(expect.objectContaining({ code: 'invalid-option' }));
  });
});
