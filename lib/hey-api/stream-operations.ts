/** How a route is received with `connect()`. */
type ReceiveAs = 'sse' | 'ndjson' | 'json-seq' | 'ws';

/** What the plugin needs to know of an operation: the extension `x-nestjs-streaming`, which {@link patchStreams} adds. */
export interface StreamOperation {
  readonly as: ReceiveAs;
  /** The reference to the schema of an item. `undefined`: it is unknown. */
  readonly item: string | undefined;
  /** Whether the items are text, which is not parsed as JSON. */
  readonly text: boolean;
}

export const EXTENSION = 'x-nestjs-streaming';

interface Schema {
  $ref?: string;
  type?: unknown;
  properties?: Record<string, Schema>;
  contentMediaType?: string;
  contentSchema?: Schema;
}

interface MediaType {
  schema?: Schema;
  itemSchema?: Schema;
}

interface Operation {
  operationId?: string;
  responses?: Record<string, { content?: Record<string, MediaType> }>;
  [EXTENSION]?: StreamOperation;
}

interface Document {
  paths?: Record<string, Record<string, unknown>>;
  components?: { schemas?: Record<string, unknown> };
  [EXTENSION]?: true;
}

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'];
const SSE = /^text\/event-stream\b/;
const BY_MEDIA_TYPE: readonly (readonly [ReceiveAs, RegExp])[] = [
  ['sse', SSE],
  ['ndjson', /^application\/(?:jsonl|(?:x-)?ndjson|stream\+json)\b/],
  ['json-seq', /^application\/(?:.+\+)?json-seq\b/],
];

/**
 * Prepares an OpenAPI document for the plugin `streams()`: `@hey-api/openapi-ts` does not know `itemSchema` of OpenAPI 3.2 yet, and generates types of schemas
 * that have a name. Set it as `parser.patch`, or call it there.
 *
 * @param document the document, which is changed
 */
export function patchStreams(document: object): void {
  const { paths = {}, components = {}, [EXTENSION]: isPatched }: Document = document;
  if (isPatched) {
    return;
  }
  const schemas = components.schemas ?? {};
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS) {
      const operation = item[method] as Operation | undefined;
      if (operation) {
        const id = operation.operationId ?? `${method}${path}`;
        patchOperation(operation, id.replace(/\W+/g, '_'), schemas);
      }
    }
  }
  Object.assign(document, { components: { ...components, schemas }, [EXTENSION]: true });
}

function patchOperation(operation: Operation, id: string, schemas: Record<string, unknown>): void {
  const content: Record<string, MediaType> = {};
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    Object.assign(content, /^2/.test(status) && response.content);
  }
  for (const [as, pattern] of BY_MEDIA_TYPE) {
    const [name, media] = Object.entries(content).find(([each]) => pattern.test(each)) ?? [];
    if (name && media) {
      const schema = itemOf(media, as);
      const item = schema && referenceTo(schema, `${id}Item`, schemas);
      if (item && as === 'sse') {
        // The SDK of hey-api has the same type for its own Server-Sent Events.
        media.schema = { $ref: item };
      }
      operation[EXTENSION] = { as, item, text: isText(media) };
      return;
    }
  }
  if (operation.responses?.['101']) {
    operation[EXTENSION] = { as: 'ws', item: undefined, text: false };
  }
}

/** The schema of what is received as `data`. The `itemSchema` of Server-Sent Events describes an event. */
function itemOf({ itemSchema }: MediaType, as: ReceiveAs): Schema | undefined {
  if (as !== 'sse') {
    return itemSchema;
  }
  const data = itemSchema?.properties?.data;
  return data?.contentSchema ?? (data?.contentMediaType === 'text/plain' ? { type: 'string' } : undefined);
}

function isText({ itemSchema }: MediaType): boolean {
  return itemSchema?.properties?.data?.contentMediaType === 'text/plain';
}

/** Returns the reference to a schema, which gets a name if it has none. */
function referenceTo(schema: Schema, name: string, schemas: Record<string, unknown>): string {
  if (schema.$ref) {
    return schema.$ref;
  }
  let key = name;
  while (key in schemas) {
    key += '_';
  }
  schemas[key] = schema;
  return `#/components/schemas/${key}`;
}
