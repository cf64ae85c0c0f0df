import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';

/** One JSON array (RFC 8259), also for a stream without chunks. It is valid JSON when the stream has ended. Heartbeats are white space. */
export const jsonFormat: StreamFormat = {
  name: 'json',
  mediaTypes: ['application/json'],
  encode: jsonText,
  open: '[',
  separator: ',',
  close: ']',
  heartbeat: '\n',
};
