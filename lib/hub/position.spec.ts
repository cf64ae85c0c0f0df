import { idOf, positionOf, tagOf } from './position.js';

const EPOCH = 'e1';
const TAG = tagOf('prices');

describe('The id of a position', () => {
  it.each([0, 1, 35, 36, 1_000_000, Number.MAX_SAFE_INTEGER])('names the offset %d', (offset) => {
    const id = idOf(TAG, { epoch: EPOCH, offset });

    expect(positionOf(id, TAG)).toEqual({ epoch: EPOCH, offset });
  });

  it('is a valid header value without escaping, whatever the name of the hub is', () => {
    for (const name of ['prices', 'Ünï 😀', 'a.b', '']) {
      expect(idOf(tagOf(name), { epoch: 'A_z9', offset: 123 })).toMatch(/^[\w-]{4}\.A_z9\.3f$/);
    }
  });

  it('is not recognized by another hub', () => {
    const id = idOf(TAG, { epoch: EPOCH, offset: 7 });

    expect(positionOf(id, tagOf('orders'))).toBe('hub');
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
    expect(positionOf(id, TAG)).toBe('malformed');
  });

  it('differs for almost all of 1000 hubs', () => {
    const tags = new Set(Array.from({ length: 1_000 }, (_, n) => tagOf(`hub ${n}`)));

    expect(tags.size).toBeGreaterThan(998);
  });
});
