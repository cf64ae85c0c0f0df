import { jsonText } from './json-text.js';

const cycle: Record<string, unknown> = { id: 1 };
cycle.friends = [{ name: 'a' }, { best: cycle }];
const shared = { n: 1 };

describe('a value that has no JSON form is refused, and the message has the path to the part without one:', () => {
  it.each<[string, unknown, string]>([
    ['a BigInt', 1n, '$ is a BigInt'],
    ['a BigInt in an object', { user: { id: 1n } }, '$.user.id is a BigInt'],
    ['a BigInt in an array', { rows: [1, { total: 2n }] }, '$.rows[1].total is a BigInt'],
    ['a BigInt behind a name that is no identifier', { 'a b': { '': 1n } }, '$["a b"][""] is a BigInt'],
    ['a BigInt from toJSON()', { price: { toJSON: () => ({ cents: 5n }) } }, '$.price.cents is a BigInt'],
    ['a BigInt behind objects that appear twice', [shared, shared, 1n], '$[2] is a BigInt'],
    ['a cycle', cycle, '$.friends[1].best is $ again, and a circular structure has no JSON form'],
    ['a cycle further in', { user: cycle }, '$.user.friends[1].best is $.user again'],
    ['a promise', Promise.resolve(1), '$ is a promise'],
    [
      'promises in objects',
      { a: [{ b: Promise.reject(new Error('never seen')) }], c: Promise.reject(new Error('too')) },
      '$.a[0].b is a promise',
    ],
    ['a promise from toJSON()', { a: { toJSON: async () => 1 } }, '$.a is a promise'],
    ['undefined', undefined, 'undefined has no JSON form'],
  ])('%s', (_what, value, message) => {
    expect(() => jsonText(value)).toThrow(
      expect.objectContaining({ code: 'not-serializable', message: expect.stringContaining(message) }),
    );
  });

  it('an error of the application is rethrown unchanged', () => {
    const failure = new TypeError('mine');
    const value = {
      toJSON: () => {
        throw failure;
      },
    };

    expect(() => jsonText({ value })).toThrow(failure);
  });

  it('a structure that is too deep is refused as JSON.stringify refuses it', () => {
    let deep: unknown = 1n;
    for (let level = 0; level < 100_000; level++) {
      deep = [deep];
    }

    expect(() => jsonText(deep)).toThrow(RangeError);
  });
});
