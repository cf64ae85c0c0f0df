import { isEvent } from './event.js';

describe('an event', () => {
  it.each([
    ['data', { data: 1 }],
    ['data that is null', { data: null }],
    ['a comment', { comment: '' }],
    ['retry', { retry: 0 }],
    ['data and every other field', { data: 1, id: '', type: '', retry: 1, comment: '' }],
    ['data in an object without a prototype', Object.assign(Object.create(null), { data: 1 })],
  ])('is an object with %s', (_what, value) => {
    expect(isEvent(value)).toBe(true);
  });

  it.each([
    ['an empty object', {}],
    ['only an id and a type', { id: '1', type: 'x' }],
    ['data that is undefined', { data: undefined }],
    ['a key that no event has', { data: 1, event: 'x' }],
    ['an array', []],
    ['null', null],
    ['a string', 'data'],
    ['a function', () => 1],
    ['a Buffer', Buffer.from('x')],
  ])('is not %s', (_what, value) => {
    expect(isEvent(value)).toBe(false);
  });
});
