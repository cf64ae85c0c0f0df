import { isBinary, toBytes } from './binary.js';
import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';

/** Encodes strings and binary data as they are, numbers and booleans as JavaScript prints them, and any other value as a line of JSON. */
export function encodeText(value: unknown): string | Uint8Array {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'boolean':
    case 'bigint':
      return String(value);
    default:
      return isBinary(value) ? toBytes(value) : `${jsonText(value)}\n`;
  }
}

/** Plain text. Nothing is sent between chunks. */
export const textFormat: StreamFormat = {
  name: 'text',
  mediaTypes: ['text/plain'],
  parameters: 'charset=utf-8',
  encode: encodeText,
};

/** Raw bytes. Values that are not binary are sent as in the format `text`. */
export const bytesFormat: StreamFormat = {
  name: 'bytes',
  mediaTypes: ['application/octet-stream'],
  encode: encodeText,
};
