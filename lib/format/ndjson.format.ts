import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';

/** One JSON value on each line (https://github.com/ndjson/ndjson-spec, https://jsonlines.org). Heartbeats are empty lines. */
export const ndjsonFormat: StreamFormat = {
  name: 'ndjson',
  mediaTypes: ['application/x-ndjson', 'application/jsonl', 'application/stream+json', 'application/ndjson'],
  encode: (value) => `${jsonText(value)}\n`,
  heartbeat: '\n',
  lagged: (dropped) => `${jsonText({ lagged: { dropped } })}\n`,
  reset: (reset) => `${jsonText({ reset })}\n`,
  error: (body) => `${jsonText({ error: body })}\n`,
};
