import { idOf, offsetOf, tagOf } from './position.js';

const EPOCH = 'e1';
const TAG = tagOf('prices');

describe('The id of a position', () => {
  it.each([0, 1, 35, 36, 1_000_000, Number.MAX_SAFE_INTEGER])('names the offset %d', (offset) => {
    const id = idOf(TAG, { epoch: EPOCH, offset });

    expect(offsetOf(id, TAG, EPOCH)).toBe(offset);
  });

  it('is a valid header value without escaping, whatever the name of the hub is', () => {
    for (const name of ['prices', 'Ünï 😀', 'a.b', '']) {
      expect(idOf(tagOf(name), { epoch: 'A_z9', offset: 123 })).toMatch(/^[\w-]{4}\.A_z9\.3f$/);
    }
  });

  it('is not recognized by another hub or in another epoch', () => {
    const id = idOf(TAG, { epoch: EPOCH, offset: 7 });

    expect(offsetOf(id, tagOf('orders'), EPOCH)).toBe('hub');
    expect(offsetOf(id, TAG, 'e2')).toBe('epoch');
    expect(offsetOf(id, tagOf('orders'), 'e2')).toBe('hub');
  });

  it.each([
    'x',
    '7',
    '.',
    '..',
    `${TAG}.${EPOCH}`,
    `${TAG}.${EPOCH}.`,
    `${TAG}..7`,
    `${TAG}.${EPOCH}.7.7`,
    `${TAG}.${EPOCH}.-7`,
    `${TAG}.${EPOCH}.7A`,
    ` ${TAG}.${EPOCH}.7`,
    `${TAG}.${EPOCH}.7\n`,
    `${TAG}.${EPOCH}.zzzzzzzzzzz`,
    `${TAG}.${EPOCH}.zzzzzzzzzzzz`,
    `${TAG}.${'e'.repeat(33)}.7`,
    `${TAG}x.${EPOCH}.7`,
    'x'.repeat(100_000),
  ])('is not recognized in %j', (id) => {
    expect(offsetOf(id, TAG, EPOCH)).toBe('malformed');
  });

  it('differs for almost all of 1000 hubs', () => {
    const tags = new Set(Array.from({ length: 1_000 }, (_, n) => tagOf(`hub ${n}`)));

    expect(tags.size).toBeGreaterThan(998);
  });
});
