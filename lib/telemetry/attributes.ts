import type { Attributes } from '@opentelemetry/api';
import type { StreamGroup } from '../connection/registry/stream-tally.js';
import { isError, kindOf } from '../util/error-text.js';

/** The attribute with the code of a close reason. */
export const CLOSE_CODE = 'nestjs_streaming.close_code';

type AttributedStream = Pick<StreamGroup, 'route' | 'format' | 'protocol'>;

/** Returns the attributes of all measurements of a stream. Unknown attributes are left out. */
export type AttributesOf = (stream: AttributedStream) => Attributes;

/**
 * Returns a function that creates the attributes of streams. Their names are those of the semantic conventions of OpenTelemetry if they exist there, and
 * otherwise begin with `nestjs_streaming.`. Each call returns an object of its own: the views and exporters of an application may change it.
 * @param paths the path templates of routes, by `Class.method`
 */
export function attributesBy(paths: ReadonlyMap<string, string>): AttributesOf {
  const known = new Map<string, { readonly of: AttributedStream; readonly attributes: Attributes }[]>();
  return ({ route, format, protocol }) => {
    const ofRoute = known.get(route) ?? [];
    // A few at most. A key that joins the three would be a new string for each call, which takes longer than all else here.
    const earlier = ofRoute.find(({ of }) => of.format === format && of.protocol === protocol);
    if (earlier) {
      return { ...earlier.attributes };
    }
    const path = paths.get(route);
    const [name, version] = protocol.split('/');
    const attributes = {
      'nestjs_streaming.route': route,
      ...(format !== undefined && { 'nestjs_streaming.format': format }),
      ...(path !== undefined && { 'http.route': path }),
      'network.protocol.name': name,
      ...(version !== undefined && { 'network.protocol.version': version }),
    };
    known.set(route, [...ofRoute, { of: { route, format, protocol }, attributes }]);
    return { ...attributes };
  };
}

/** Returns the attribute `error.type`: the class of an error, or `_OTHER` for values without one. */
export function errorType(error: unknown): Attributes {
  const name = isError(error) ? kindOf(error) : '';
  return { 'error.type': /^[\w$]+$/.test(name) ? name : '_OTHER' };
}
