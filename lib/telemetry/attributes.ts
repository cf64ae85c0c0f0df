import type { Attributes } from '@opentelemetry/api';
import type { StreamGroup } from '../connection/registry/stream-tally.js';

/** What all measurements of a stream are told apart by. What is not known is left out. */
export function attributesOf({
  route,
  format,
  protocol,
}: Pick<StreamGroup, 'route' | 'format' | 'protocol'>): Attributes {
  return format === undefined ? { route, protocol } : { route, format, protocol };
}
