import { EXTENSION, patchStreams } from './stream-operations.js';

const PRICE = '#/components/schemas/Price';
const eventOf = (data: object) => ({ type: 'object', properties: { data: { type: 'string', ...data } } });
const JSON_OF = (contentSchema: object) => ({ contentMediaType: 'application/json', contentSchema });

/** A document with one operation. */
function documentOf(content: object, schemas: object = {}, operation: object = {}) {
  const get: Record<string, unknown> = { operationId: 'all', responses: { 200: { content } }, ...operation };
  return { get, document: { paths: { '/a': { get } }, components: { schemas: { ...schemas } } } };
}

function patched(content: object, schemas?: object, operation?: object) {
  const { get, document } = documentOf(content, schemas, operation);
  patchStreams(document);
  return { stream: get[EXTENSION], schemas: document.components.schemas };
}

describe('patchStreams()', () => {
  it.each([
    ['Server-Sent Events', 'text/event-stream', { itemSchema: eventOf(JSON_OF({ $ref: PRICE })) }, 'sse'],
    ['NDJSON', 'application/x-ndjson', { itemSchema: { $ref: PRICE } }, 'ndjson'],
    ['JSON Lines', 'application/jsonl', { itemSchema: { $ref: PRICE } }, 'ndjson'],
    ['a JSON text sequence', 'application/json-seq', { itemSchema: { $ref: PRICE } }, 'json-seq'],
    ['another JSON text sequence', 'application/geo+json-seq', { itemSchema: { $ref: PRICE } }, 'json-seq'],
    [
      'a media type with parameters',
      'text/event-stream; charset=utf-8',
      { itemSchema: eventOf(JSON_OF({ $ref: PRICE })) },
      'sse',
    ],
  ])('finds the items of %s', (_what, mediaType, media, as) => {
    expect(patched({ [mediaType]: media }).stream).toEqual({ as, item: PRICE, text: false });
  });

  it('selects Server-Sent Events, then NDJSON, then JSON text sequences', () => {
    const sse = { 'text/event-stream': { itemSchema: eventOf(JSON_OF({ $ref: PRICE })) } };
    const ndjson = { 'application/jsonl': { itemSchema: { $ref: PRICE } } };
    const sequence = { 'application/json-seq': { itemSchema: { $ref: PRICE } } };

    expect(patched({ ...sequence, ...ndjson, ...sse }).stream).toMatchObject({ as: 'sse' });
    expect(patched({ ...sequence, ...ndjson }).stream).toMatchObject({ as: 'ndjson' });
  });

  it('gives a name that is free to a schema without one', () => {
    const { stream, schemas } = patched({ 'application/jsonl': { itemSchema: { type: 'number' } } }, { allItem: {} });

    expect(stream).toEqual({ as: 'ndjson', item: '#/components/schemas/allItem_', text: false });
    expect(schemas).toEqual({ allItem: {}, allItem_: { type: 'number' } });
  });

  it('gives a name to the schema of an operation without one', () => {
    const media = { 'application/jsonl': { itemSchema: { type: 'number' } } };

    expect(patched(media, {}, { operationId: undefined }).stream).toMatchObject({
      item: '#/components/schemas/get_aItem',
    });
  });

  it('tells text from JSON', () => {
    const text = { 'text/event-stream': { itemSchema: eventOf({ contentMediaType: 'text/plain' }) } };

    expect(patched(text).stream).toEqual({ as: 'sse', item: '#/components/schemas/allItem', text: true });
  });

  it.each([
    ['an event without a type of data', { 'text/event-stream': { itemSchema: eventOf({}) } }],
    ['the schema of a whole body', { 'text/event-stream': { schema: { type: 'string' } } }],
    ['nothing', { 'text/event-stream': {} }],
  ])('does not know the items of %s', (_what, content) => {
    expect(patched(content).stream).toEqual({ as: 'sse', item: undefined, text: false });
  });

  it('finds streams over WebSocket alone', () => {
    expect(patched({}, {}, { responses: { 101: {}, 426: {} } }).stream).toMatchObject({ as: 'ws', item: undefined });
  });

  it.each([
    ['JSON', { 'application/json': { schema: { type: 'array' } } }],
    ['text', { 'text/plain': { schema: { type: 'string' } } }],
    ['bytes', { 'application/octet-stream': {} }],
  ])('leaves routes of %s as they are', (_what, content) => {
    expect(patched(content).stream).toBeUndefined();
  });

  it('leaves errors that are streams as they are', () => {
    expect(patched({}, {}, { responses: { 400: { content: { 'application/jsonl': {} } } } }).stream).toBeUndefined();
  });

  it('changes a document once', () => {
    const { document } = documentOf({ 'application/jsonl': { itemSchema: { type: 'number' } } });
    patchStreams(document);
    const once = structuredClone(document);
    patchStreams(document);

    expect(document).toEqual(once);
  });

  it('accepts a document without paths and components', () => {
    const document = { openapi: '3.2.0' };
    patchStreams(document);

    expect(document).toMatchObject({ components: { schemas: {} } });
  });
});
