import { types } from 'node:util';

/** Returns whether a value is binary data: a Buffer, any typed array, a DataView or an ArrayBuffer. */
export function isBinary(value: unknown): value is ArrayBufferView | ArrayBufferLike {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}

/** Returns a view of binary data as bytes. The memory is not copied. */
export function toBytes(value: ArrayBufferView | ArrayBufferLike): Buffer {
  return ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.from(value);
}

/** Joins two encoded pieces. */
export function joined(first: string | Uint8Array, second: string | Uint8Array): string | Uint8Array {
  return typeof first === 'string' && typeof second === 'string'
    ? first + second
    : Buffer.concat([first, second].map((each) => (typeof each === 'string' ? Buffer.from(each) : each)));
}
