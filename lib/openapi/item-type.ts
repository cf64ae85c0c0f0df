import type { StreamOptions } from '../options/streaming.options.js';
import type { Schema, SchemaObject } from './swagger.js';

type Class = abstract new (...args: never[]) => unknown;
type ItemType = Exclude<StreamOptions['type'], undefined>;

/** The schemas of built-in types, by their constructor. */
const BUILT_IN = new Map<unknown, SchemaObject>([
  [String, { type: 'string' }],
  [Number, { type: 'number' }],
  [Boolean, { type: 'boolean' }],
  [Object, { type: 'object' }],
  [Date, { type: 'string', format: 'date-time' }],
]);

/** The schema of a chunk, and its class, if it has one. The document contains the schema of the class. */
export interface ItemSchema {
  readonly schema: Schema;
  readonly model: Class | undefined;
}

/** Returns the schema for the option `type` of a route. @param pathOf returns the reference to the schema of a class */
export function itemSchemaOf(type: ItemType, pathOf: (model: Class) => string): ItemSchema {
  if (Array.isArray(type)) {
    const { schema, model } = itemSchemaOf(type[0] as ItemType, pathOf);
    return { schema: { type: 'array', items: schema }, model };
  }
  // A class has a prototype. An arrow function that returns a class, because the class is declared later, has none.
  if (typeof type === 'function' && type.prototype === undefined) {
    return itemSchemaOf((type as () => ItemType)(), pathOf);
  }
  const builtIn = BUILT_IN.get(type);
  return builtIn
    ? { schema: builtIn, model: undefined }
    : { schema: { $ref: pathOf(type as Class) }, model: type as Class };
}
