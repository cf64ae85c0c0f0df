import { types } from 'node:util';

/** Whether a value is raw bytes: a Buffer, any typed array, a DataView or an ArrayBuffer. */
export function isBinary(value: unknown): value is ArrayBufferView | ArrayBufferLike {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}

/** The same memory as bytes, not a copy. */
export function toBytes(value: ArrayBufferView | ArrayBufferLike): Buffer {
  return ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.from(value);
}
