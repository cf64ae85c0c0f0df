import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { combineCrc, crcShift } from './crc32.js';

function combined(first: Uint8Array, second: Uint8Array): number {
  return combineCrc(crc32(first), crc32(second), crcShift(second.length));
}

describe('The combined CRC-32 of', () => {
  it.each([
    ['', ''],
    ['', 'b'],
    ['a', ''],
    ['123456', '789'],
  ])('%p and %p is the CRC-32 of both together', (first, second) => {
    expect(combined(Buffer.from(first), Buffer.from(second))).toBe(crc32(first + second));
  });

  it('two parts of "123456789" is the check value of the specifications', () => {
    expect(combined(Buffer.from('1234'), Buffer.from('56789'))).toBe(0xcbf43926);
  });

  it('any two pieces is the CRC-32 of both together', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (first, second) => {
        expect(combined(first, second)).toBe(crc32(Buffer.concat([first, second])));
      }),
    );
  });

  it('two pieces is correct if the second has more than 2^32 bits', () => {
    const megabyte = new Uint8Array(1024 * 1024);
    const whole = 600;
    let crc = crc32('first');
    for (let i = 0; i < whole; i++) {
      crc = crc32(megabyte, crc);
    }
    let zeros = 0;
    for (let i = 0; i < whole; i++) {
      zeros = crc32(megabyte, zeros);
    }

    expect(combineCrc(crc32('first'), zeros, crcShift(whole * megabyte.length))).toBe(crc);
  });

  it('three pieces is the same whichever two are combined first', () => {
    const shift = crcShift(5);
    const left = combineCrc(combineCrc(crc32('one--'), crc32('two--'), shift), crc32('three'), shift);
    const right = combineCrc(crc32('one--'), combineCrc(crc32('two--'), crc32('three'), shift), crcShift(10));

    expect(left).toBe(crc32('one--two--three'));
    expect(right).toBe(left);
  });
});
