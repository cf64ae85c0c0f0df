import { isBinary, toBytes } from './binary.js';
import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';

/** Strings and bytes as they are, numbers and booleans in decimal, any other value as a line of JSON. */
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

/** Plain text. Chunks follow each other with nothing in between. */
export const textFormat: StreamFormat = {
  name: 'text',
  mediaTypes: ['text/plain'],
  parameters: 'charset=utf-8',
  encode: encodeText,
};

/** Raw bytes. What is not binary is sent as the `text` format would. */
export const bytesFormat: StreamFormat = {
  name: 'bytes',
  mediaTypes: ['application/octet-stream'],
  encode: encodeText,
};
