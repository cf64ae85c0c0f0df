import type { IncomingMessage } from 'node:http';
import { waitOf } from './prefer.js';

function waitIn(prefer: string | undefined, method = 'GET'): number | undefined {
  return waitOf({ method, headers: { prefer } as Record<string, string> } as unknown as IncomingMessage);
}

describe('The wait in a Prefer header', () => {
  it.each([
    ['wait=10', 10],
    ['wait=0', 0],
    ['wait=007', 7],
    ['WAIT=10', 10],
    ['wait = 10', 10],
    ['wait\t=\t10', 10],
    ['  wait=10  ', 10],
    ['wait="10"', 10],
    ['wait=10; foo', 10],
    ['wait=10;foo=bar; baz="a, wait=2";', 10],
    ['wait=10;;', 10],
    ['respond-async, wait=10', 10],
    ['respond-async,wait=10,return=minimal', 10],
    [',, wait=10 ,', 10],
    ['foo="a, wait=3, b", wait=10', 10],
    ['foo="a\\", wait=3", wait=10', 10],
    ['foo="", wait=10', 10],
    ['wait=5, wait=10', 5],
    ['Wait=5, wait=x', 5],
    ['foo bar, wait=10', 10],
    ['=3, wait=10', 10],
    ['99999999999999999999', undefined],
    ['wait=99999999999999999999', 1e20],
  ])('of %j is %p', (prefer, wait) => {
    expect(waitIn(prefer)).toBe(wait);
  });

  it.each([
    undefined,
    '',
    'respond-async',
    'wait',
    'wait=',
    'wait=""',
    'wait=-1',
    'wait=+1',
    'wait=1.5',
    'wait=1e3',
    'wait=ten',
    'wait=1 0',
    'wait=x, wait=10',
    'await=10',
    'wait-more=10',
    'foo; wait=10',
    'foo="wait=10"',
    'foo="a, wait=10',
    'wait:10',
    'wait=١',
  ])('is undefined for %j', (prefer) => {
    expect(waitIn(prefer)).toBeUndefined();
  });

  it('is undefined for HEAD', () => {
    expect(waitIn('wait=10', 'HEAD')).toBeUndefined();
  });

  it.each([
    '"'.repeat(16_000),
    ',"'.repeat(8_000),
    ','.repeat(16_000),
    'a='.repeat(8_000),
    `a${';'.repeat(16_000)}"`,
    `${'a;'.repeat(8_000)}"`,
    `a="${'\\"'.repeat(8_000)}`,
    `a${' '.repeat(16_000)}b`,
  ])('is found in time that is linear in the length of the header (%#)', (prefer) => {
    expect(waitIn(prefer)).toBeUndefined();
  });
});
