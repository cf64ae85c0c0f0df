/** The polynomial of gzip's CRC-32, with the lowest power in the highest bit (RFC 1952 §8). */
const POLYNOMIAL = 0xedb88320;
/** The polynomial x⁰, with the same order of bits. */
const ONE = 0x80000000;
/** The polynomial x⁸: a shift by one byte. */
const BYTE = 0x00800000;

/** Returns the product of two polynomials over GF(2), modulo the polynomial of the CRC. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = ONE, power = b; bit !== 0; bit >>>= 1) {
    if (a & bit) {
      product ^= power;
    }
    power = (power >>> 1) ^ (-(power & 1) & POLYNOMIAL);
  }
  return product;
}

/** Returns the factor by which the CRC of some bytes is multiplied when `length` more bytes follow: x to the power of 8 × `length`. */
export function crcShift(length: number): number {
  let shift = ONE;
  for (let rest = length, power = BYTE; rest > 0; rest = Math.floor(rest / 2), power = multiply(power, power)) {
    if (rest % 2 === 1) {
      shift = multiply(shift, power);
    }
  }
  return shift;
}

/**
 * Returns the CRC-32 of two pieces joined together, computed from their own CRCs without reading their bytes again.
 *
 * @param shift {@link crcShift} of the length of the second piece
 */
export function combineCrc(first: number, second: number, shift: number): number {
  return (multiply(first, shift) ^ second) >>> 0;
}
