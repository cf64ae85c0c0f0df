import {
  $,
  applyNaming,
  coerce,
  type DefinePlugin,
  definePluginConfig,
  type IR,
  type Plugin,
  type PluginContext,
} from '@hey-api/openapi-ts';
import { StreamError } from '../util/errors.js';
import { EXTENSION, type StreamOperation } from './stream-operations.js';

export { patchStreams } from './stream-operations.js';

const NAME = 'nestjs-streaming';
const CLIENT = 'nestjs-streaming/client';

/** Options of {@link streams}. */
export interface StreamsOptions {
  /** Whether the index of the generated files exports the functions. Default: `true`. */
  readonly includeInEntry?: boolean;
}

/** A plugin. The types of openapi-ts do not accept the name of a plugin of another package, but they accept `never`. */
export interface StreamsConfig {
  readonly name: never;
}

interface Config extends Plugin.Exports {
  readonly name: string;
  /** The name of the plugin that creates the client of hey-api. */
  readonly client: string | false;
}
type StreamsPlugin = DefinePlugin<{ name: string; includeInEntry?: boolean; client?: string | false }, Config>;
type Instance = StreamsPlugin['Instance'];

/**
 * A plugin for `@hey-api/openapi-ts`. For each stream of the document, it generates a function that calls `connect()` of `nestjs-streaming/client`, with the types of the
 * parameters, the body and the items. `parser.patch` must be {@link patchStreams}, or call it.
 *
 * @example
 * ```ts
 * import { defineConfig } from '@hey-api/openapi-ts';
 * import { patchStreams, streams } from 'nestjs-streaming/hey-api';
 *
 * export default defineConfig({
 *   input: 'http://localhost:3000/api-json',
 *   output: 'src/api',
 *   parser: { patch: patchStreams },
 *   plugins: ['@hey-api/typescript', streams()],
 * });
 * ```
 */
export function streams(options: StreamsOptions = {}): StreamsConfig {
  return define(options) as { name: unknown } as StreamsConfig;
}

const config: StreamsPlugin['Config'] = {
  name: NAME,
  config: {
    $dependencies: ['client'],
    client: coerce((_value, context) =>
      (context as PluginContext).resolveTag('client', { defaultPlugin: '@hey-api/client-fetch' }),
    ),
    includeInEntry: true,
  },
  dependencies: ['@hey-api/typescript'],
  handler: ({ plugin }) => {
    if (!(EXTENSION in plugin.context.spec)) {
      throw new StreamError('invalid-option', 'The plugin nestjs-streaming needs `parser: { patch: patchStreams }`');
    }
    const generator = new Generator(plugin);
    plugin.forEach(
      'operation',
      ({ operation }) => {
        const stream = (operation as { [EXTENSION]?: StreamOperation })[EXTENSION];
        if (stream) {
          generator.add(operation, stream);
        }
      },
      { order: 'declarations' },
    );
  },
};
const define = definePluginConfig(config);

/** Generates the functions of one document. */
class Generator {
  private readonly connect;
  private readonly stream;
  private readonly request;

  constructor(private readonly plugin: Instance) {
    this.connect = plugin.symbol('connect', { external: CLIENT });
    this.stream = plugin.symbol('ClientStream', { external: CLIENT, kind: 'type' });
    const options = plugin.symbol('ConnectOptions', { external: CLIENT, kind: 'type' });
    this.request = plugin.symbol('StreamRequest', { kind: 'type' });
    plugin.node(
      $.type
        .alias(this.request)
        .export()
        .doc('The parameters and the body of a request, and how to receive its stream.')
        .generic('TData')
        .type($.type.and(omit('TData', 'url', 'headers'), omit(options, 'method', 'body'))),
    );
  }

  add(operation: IR.OperationObject, stream: StreamOperation): void {
    const { plugin } = this;
    const data = plugin.referenceSymbol({
      artifact: 'types',
      category: 'type',
      resource: 'operation',
      resourceId: operation.id,
      role: 'data',
    });
    const item = this.itemOf(operation, stream);
    const { path = {}, query = {} } = operation.parameters ?? {};
    const needed = [operation.body, ...Object.values(path), ...Object.values(query)].some((each) => each?.required);
    const name = plugin.symbol(applyNaming(operation.id, { name: 'stream{{name}}', casing: 'camelCase' }));
    const { summary, description, deprecated } = operation;
    const doc = [summary, description, deprecated && '@deprecated'].filter((line) => typeof line === 'string');
    plugin.node(
      $.const(name)
        .export()
        .doc(doc)
        .assign(
          $.func()
            .param('request', (p) => (needed ? p : p.assign($.object())).type($.type(this.request).generic(data)))
            .returns($.type(this.stream).generic(item))
            .do($(this.connect).call(this.url(operation), connectOptions(operation, stream)).generic(item).return()),
        ),
    );
  }

  private itemOf({ id }: IR.OperationObject, { item }: StreamOperation) {
    const found =
      item &&
      this.plugin.querySymbol({ artifact: 'types', category: 'type', resource: 'definition', resourceId: item });
    if (item && !found) {
      throw new StreamError(
        'invalid-option',
        `The type of the items of ${id} (${item}) is removed: set parser.filters.orphans to true`,
      );
    }
    return found || 'unknown';
  }

  /** The client of hey-api knows the address of the server, and how to write parameters. */
  private url({ path, parameters = {} }: IR.OperationObject) {
    const client = this.plugin.referenceSymbol({ category: 'client' });
    const options = $.object().prop('url', $.literal(path));
    for (const kind of ['path', 'query'] as const) {
      if (parameters[kind]) {
        options.prop(kind, $('request').attr(kind));
      }
    }
    return $(client).attr('buildUrl').call(options);
  }
}

function omit(type: string | ReturnType<Instance['symbol']>, ...keys: string[]) {
  return $.type('Omit')
    .generic(type)
    .generic($.type.or(...keys.map((key) => $.type.literal(key))));
}

/** What the caller sets has priority. A WebSocket has no method. */
function connectOptions({ method }: IR.OperationObject, { as, text }: StreamOperation) {
  const options = $.object();
  if (method !== 'get') {
    options.prop('method', $.literal(method.toUpperCase()));
  }
  options.prop('as', $.literal(as));
  if (text) {
    options.prop('parse', $('String'));
  }
  return options.spread('request');
}
