import type { StreamFormat } from '../format/format.js';
import { ALL_FORMATS } from '../format/formats.js';
import { jsonFormat } from '../format/json.format.js';
import { sseFormat } from '../format/sse.format.js';
import { bytesFormat } from '../format/text.format.js';
import type { Schema } from './swagger.js';

/** The OpenAPI version of a document. `undefined`: the description suits tools for all versions. */
export type OpenApiVersion = '3.0' | '3.1' | '3.2' | undefined;

/** A media type object (OpenAPI 3.2 §4.14). The type of `@nestjs/swagger` lacks `itemSchema`. */
export interface StreamMediaType {
  readonly schema?: Schema;
  readonly itemSchema?: object;
}

// "Sequential media types" (OpenAPI 3.2 §4.14.3), whose items are JSON.
const JSON_SEQUENCE = /^application\/(?:jsonl|(?:x-)?ndjson|stream\+json|(?:.+\+)?json-seq)$/;

/** Returns the content of a route by media type. The media types are those that the route negotiates. */
export function streamContent(
  formats: readonly StreamFormat[] | undefined,
  item: Schema | undefined,
  version: OpenApiVersion,
): Record<string, StreamMediaType> {
  const [only] = formats ?? [];
  // If there is only one format, it is not negotiated, and always sent with its first media type.
  const offers = (formats ?? ALL_FORMATS).flatMap((format) =>
    (only && formats?.length === 1 ? format.mediaTypes.slice(0, 1) : format.mediaTypes).map(
      (mediaType) => [mediaType, mediaTypeObject(format, mediaType, item, version)] as const,
    ),
  );
  const content: Record<string, StreamMediaType> = {};
  for (const [mediaType, object] of offers) {
    // If two formats have the same media type, the first one is sent. The order is kept: tools select the first media type.
    content[mediaType] ??= object;
  }
  return content;
}

function mediaTypeObject(
  format: StreamFormat,
  mediaType: string,
  item: Schema | undefined,
  version: OpenApiVersion,
): StreamMediaType {
  const events = sseFormat.mediaTypes.includes(mediaType);
  if (!events && !JSON_SEQUENCE.test(mediaType)) {
    return { schema: bodySchema(format, item) };
  }
  const itemSchema = events ? eventSchema(item) : item;
  switch (version) {
    case '3.0':
    case '3.1':
      return { schema: { type: 'string' } };
    case '3.2':
      // In 3.2, `schema` would describe an array of the chunks.
      return itemSchema ? { itemSchema } : {};
    default:
      return item ? { schema: { type: 'string' }, itemSchema } : { schema: { type: 'string' } };
  }
}

function bodySchema(format: StreamFormat, item: Schema | undefined): Schema {
  switch (format) {
    case jsonFormat:
      return { type: 'array', items: item ?? {} };
    case bytesFormat:
      return { type: 'string', format: 'binary' };
    default:
      return { type: 'string' };
  }
}

/** Returns the schema of a parsed event (OpenAPI 3.2 §4.14.3.2). */
function eventSchema(item: Schema | undefined): object {
  return {
    type: 'object',
    required: ['data'],
    properties: {
      data: { type: 'string', ...contentOf(item) },
      event: { type: 'string' },
      id: { type: 'string' },
      retry: { type: 'integer', minimum: 0 },
    },
  };
}

/** Returns what the text of an event contains: strings are sent as they are, all other data as JSON. `undefined`: the type is unknown. */
function contentOf(item: Schema | undefined): object | undefined {
  if (item === undefined) {
    return undefined;
  }
  const text = 'type' in item && item.type === 'string' && item.format === undefined;
  return text ? { contentMediaType: 'text/plain' } : { contentMediaType: 'application/json', contentSchema: item };
}
