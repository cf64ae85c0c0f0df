import type { StreamFormat } from './format.js';
import { jsonFormat } from './json.format.js';
import { jsonSeqFormat } from './json-seq.format.js';
import { ndjsonFormat } from './ndjson.format.js';
import { sseFormat } from './sse.format.js';
import { bytesFormat, textFormat } from './text.format.js';

/** The names of the formats that come with the package. `jsonl` is another name of `ndjson`. */
export type StreamFormatName = 'text' | 'bytes' | 'ndjson' | 'jsonl' | 'json-seq' | 'json' | 'sse';

export const FORMATS: Readonly<Record<StreamFormatName, StreamFormat>> = {
  text: textFormat,
  bytes: bytesFormat,
  ndjson: ndjsonFormat,
  jsonl: {
    ...ndjsonFormat,
    name: 'jsonl',
    mediaTypes: ['application/jsonl', 'application/stream+json', 'application/x-ndjson', 'application/ndjson'],
  },
  'json-seq': jsonSeqFormat,
  json: jsonFormat,
  sse: sseFormat,
};

/** Formats whose chunks are JSON, or have it in them: they end with a line or a value, and take JSON text over as it is. */
export const JSON_FORMATS: ReadonlySet<StreamFormat> = new Set(
  (['sse', 'ndjson', 'jsonl', 'json-seq', 'json'] as const).map((name) => FORMATS[name]),
);

/** What a route without a list of its own offers. */
export const ALL_FORMATS: readonly StreamFormat[] = [
  ndjsonFormat,
  textFormat,
  bytesFormat,
  sseFormat,
  jsonFormat,
  jsonSeqFormat,
];
