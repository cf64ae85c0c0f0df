import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';

const RECORD_SEPARATOR = '\x1e';

/** JSON text sequences (RFC 7464 §2.2). Heartbeats are lone record separators, which a parser ignores (§2.1). */
export const jsonSeqFormat: StreamFormat = {
  name: 'json-seq',
  mediaTypes: ['application/json-seq'],
  encode: (value) => `${RECORD_SEPARATOR}${jsonText(value)}\n`,
  heartbeat: RECORD_SEPARATOR,
  lagged: (dropped) => `${RECORD_SEPARATOR}${jsonText({ lagged: { dropped } })}\n`,
  reset: (reset) => `${RECORD_SEPARATOR}${jsonText({ reset })}\n`,
  error: (body) => `${RECORD_SEPARATOR}${jsonText({ error: body })}\n`,
};
