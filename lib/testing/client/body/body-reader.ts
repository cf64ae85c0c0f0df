import { JsonArrayReader } from './json-array.reader.js';
import { JsonSeqReader, NdjsonReader } from './json-lines.reader.js';
import { SseReader } from './sse.reader.js';
import type { EventFields, TextReader } from './streamed-event.js';

/** Parses the bytes of one body into events. */
export interface BodyReader {
  read(bytes: Buffer): EventFields[];
  /** Returns the events that the end of the body completes. Throws if the body ends within one. */
  end(): EventFields[];
}

/** Each chunk of text is one event. */
const plainText: TextReader = {
  read: (text) => (text === '' ? [] : [{ data: text }]),
  end: () => [],
};

const bytes: BodyReader = {
  read: (chunk) => [{ data: chunk }],
  end: () => [],
};

function decoding(reader: TextReader): BodyReader {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  return {
    read: (chunk) => reader.read(utf8.decode(chunk, { stream: true })),
    end: () => [...reader.read(utf8.decode()), ...reader.end()],
  };
}

/** Returns the reader for a `Content-Type`. `json`: whether SSE data is parsed as JSON. */
export function readerFor(contentType: string | null, json: boolean): BodyReader {
  const [mediaType = ''] = (contentType ?? '').toLowerCase().split(';');
  switch (mediaType.trim()) {
    case 'text/event-stream':
      return decoding(new SseReader(json));
    case 'application/x-ndjson':
    case 'application/ndjson':
    case 'application/jsonl':
    case 'application/stream+json':
      return decoding(new NdjsonReader());
    case 'application/json-seq':
      return decoding(new JsonSeqReader());
    case 'application/json':
      return decoding(new JsonArrayReader());
    default:
      return mediaType.startsWith('text/') ? decoding(plainText) : bytes;
  }
}
