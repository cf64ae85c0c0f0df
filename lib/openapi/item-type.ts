import type { StreamOptions } from '../options/streaming.options.js';
import type { Schema, SchemaObject } from './swagger.js';

type Class = abstract new (...args: never[]) => unknown;
type ItemType = Exclude<StreamOptions['type'], undefined>;

/** The schemas of types that JSON has itself, by the constructor that decorators use for them. */
const BUILT_IN = new Map<unknown, SchemaObject>([
  [String, { type: 'string' }],
  [Number, { type: 'number' }],
  [Boolean, { type: 'boolean' }],
  [Object, { type: 'object' }],
  [Date, { type: 'string', format: 'date-time' }],
]);

/** The schema of an item, and its class if it has one. The class is described among the schemas of the document. */
export interface ItemSchema {
  readonly schema: Schema;
  readonly model: Class | undefined;
}

/** Reads the `type` of a route. @param pathOf where the schema of a class is found */
export function itemSchemaOf(type: ItemType, pathOf: (model: Class) => string): ItemSchema {
  if (Array.isArray(type)) {
    const { schema, model } = itemSchemaOf(type[0] as ItemType, pathOf);
    return { schema: { type: 'array', items: schema }, model };
  }
  // A class has a prototype; an arrow function around one, for a class that is not there yet, has none.
  if (typeof type === 'function' && type.prototype === undefined) {
    return itemSchemaOf((type as () => ItemType)(), pathOf);
  }
  const builtIn = BUILT_IN.get(type);
  return builtIn
    ? { schema: builtIn, model: undefined }
    : { schema: { $ref: pathOf(type as Class) }, model: type as Class };
}
