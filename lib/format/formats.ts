import type { StreamFormat } from './format.js';
import { jsonFormat } from './json.format.js';
import { jsonSeqFormat } from './json-seq.format.js';
import { ndjsonFormat } from './ndjson.format.js';
import { sseFormat } from './sse.format.js';
import { bytesFormat, textFormat } from './text.format.js';

/** The names of the built-in formats. `jsonl` is `ndjson` with the content type `application/jsonl`. */
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

/** Formats whose chunks are or contain JSON values. They can send JSON text unchanged. */
export const JSON_FORMATS: ReadonlySet<StreamFormat> = new Set(
  (['sse', 'ndjson', 'jsonl', 'json-seq', 'json'] as const).map((name) => FORMATS[name]),
);

/** The formats of a route without the option `format`. */
export const ALL_FORMATS: readonly StreamFormat[] = [
  ndjsonFormat,
  textFormat,
  bytesFormat,
  sseFormat,
  jsonFormat,
  jsonSeqFormat,
];
