import { types } from 'node:util';

/** Whether a value is raw bytes: a Buffer, any typed array, a DataView or an ArrayBuffer. */
export function isBinary(value: unknown): value is ArrayBufferView | ArrayBufferLike {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}

/** The same memory as bytes, not a copy. */
export function toBytes(value: ArrayBufferView | ArrayBufferLike): Buffer {
  return ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.from(value);
}

/** Two encoded pieces as one. */
export function joined(first: string | Uint8Array, second: string | Uint8Array): string | Uint8Array {
  return typeof first === 'string' && typeof second === 'string'
    ? first + second
    : Buffer.concat([first, second].map((each) => (typeof each === 'string' ? Buffer.from(each) : each)));
}
