import type { StreamFormat } from './format.js';
import { encodeText } from './text.format.js';

/** Raw bytes. What is not binary is sent as the `text` format would. */
export const bytesFormat: StreamFormat = {
  name: 'bytes',
  mediaTypes: ['application/octet-stream'],
  encode: encodeText,
};
